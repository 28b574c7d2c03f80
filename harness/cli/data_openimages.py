"""``harness data openimages``."""

from __future__ import annotations

import argparse
from typing import Any

from harness.cli import console
from harness.cli.data_convert import print_report
from harness.cli.options import add_answered_settings, request_from
from harness.core.requests.data import OpenImagesRequest


def add_action(actions: Any, name: str) -> None:
    """Add the action with the settings of OpenImagesRequest.

    Args:
        actions: The parser's sub-commands, of argparse.
        name: Of the action.
    """
    parser = actions.add_parser(name, help="fetch classes of Open Images with their masks")
    add_answered_settings(parser, OpenImagesRequest)


def run(arguments: argparse.Namespace) -> int:
    """Fetch, convert, and print the report; return the exit code."""
    from harness.files.fetch import FetchOptions
    from harness.workflows.datasets.openimages import fetch_openimages
    from harness.zoo.openimages import known_files

    report = fetch_openimages(
        request_from(OpenImagesRequest, arguments),
        FetchOptions(progress=console.progress_of(arguments), jobs=arguments.jobs),
        known_files(),
    )
    if arguments.json:
        console.answer_json(report)
    else:
        print_report(report, arguments)
    return 0
