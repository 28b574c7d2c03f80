"""``harness data openimages``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.cli import console
from harness.cli.data_convert import print_report, words
from harness.cli.options import add_answer_options, request_from
from harness.core.errors import UsageError
from harness.core.requests.data import OPEN_IMAGES_SPLITS, OpenImagesRequest


def add_action(actions: Any, name: str) -> None:
    """The options of OpenImagesRequest."""
    parser = actions.add_parser(name, help="fetch classes of Open Images with their masks")
    parser.add_argument("--output", type=Path, required=True, help="folder for everything")
    parser.add_argument(
        "--classes",
        type=words,
        required=True,
        metavar="A,B,C",
        help="names as Open Images has them: Panda,Dice,Duck",
    )
    parser.add_argument("--split", choices=OPEN_IMAGES_SPLITS, default="validation")
    parser.add_argument(
        "--images", dest="image_count", type=int, default=100, metavar="N", help="random ones"
    )
    parser.add_argument(
        "--all-images", dest="image_count", action="store_const", const=None, help="every one"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--mirror", metavar="URL", help="http, https or file address to fetch everything from"
    )
    parser.add_argument("--jobs", type=int, default=8, help="connections at once")
    parser.add_argument("--keep-archives", action="store_true", help="keep the mask archives")
    add_answer_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Fetch, convert, and print what became of everything."""
    from harness.files.fetch import FetchOptions
    from harness.workflows.datasets.openimages import fetch_openimages
    from harness.zoo.openimages import known_files

    if arguments.jobs < 1:
        raise UsageError(f"--jobs must be at least 1, got {arguments.jobs}")
    report = fetch_openimages(
        request_from(OpenImagesRequest, arguments),
        FetchOptions(progress=console.TerminalProgress(), jobs=arguments.jobs),
        known_files(),
    )
    if arguments.json:
        console.answer_json(report)
    else:
        print_report(report, arguments)
    return 0
