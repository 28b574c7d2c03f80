"""``harness download``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli import console
from harness.cli.options import add_answer_options, request_from
from harness.core.errors import UsageError
from harness.core.model import GROUPS
from harness.core.requests.zoo import EVALUATION_GROUPS, DownloadRequest

if TYPE_CHECKING:
    from harness.zoo.download import Outcome

COLUMNS = ("artefact", "size", "what happened", "proof")
PLAN_COLUMNS = ("artefact", "size", "what would happen", "source")
SPOKEN = {
    "known": "there, proven before",
    "proven": "there, proven now",
    "fetched": "fetched and proven",
    "would-prove": "would be proven",
    "would-fetch": "would be fetched",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of DownloadRequest."""
    parser.add_argument(
        "--only",
        type=_words,
        default=EVALUATION_GROUPS,
        metavar="GROUP,…",
        help=f"some of {','.join(GROUPS)} (default: what evaluation needs, "
        f"{','.join(EVALUATION_GROUPS)})",
    )
    parser.add_argument(
        "--model",
        dest="models",
        type=_words,
        default=(),
        metavar="NAME,…",
        help="only the checkpoints of these model entries",
    )
    parser.add_argument("--root", type=Path, help="where everything goes (default: datasets)")
    parser.add_argument(
        "--mirror", metavar="URL", help="http, https or file address to fetch everything from"
    )
    parser.add_argument("--jobs", type=int, default=4, help="connections at once (default: 4)")
    parser.add_argument("--keep-archives", action="store_true", help="keep what was unpacked")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, do nothing")
    add_answer_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Fetch, prove, and print one row an artefact."""
    from datetime import datetime, timezone

    from harness.files.fetch import FetchOptions
    from harness.files.layout import datasets_folder
    from harness.report.tables import render
    from harness.zoo.download import download
    from harness.zoo.lock import read_lock

    if arguments.jobs < 1:
        raise UsageError(f"--jobs must be at least 1, got {arguments.jobs}")
    arguments.root = arguments.root or datasets_folder()
    outcomes = download(
        read_lock(),
        request_from(DownloadRequest, arguments),
        options=FetchOptions(progress=console.TerminalProgress(), jobs=arguments.jobs),
        now=lambda: datetime.now(timezone.utc),
    )
    if arguments.json:
        console.answer_json(outcomes)
    else:
        style = arguments.format or console.default_format()
        columns = PLAN_COLUMNS if arguments.dry_run else COLUMNS
        console.answer(render(columns, [_row(one) for one in outcomes], style))
        if not arguments.dry_run:
            console.answer("", f"everything is proven: {arguments.root}")
    return 0


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split(",") if word)


def _row(outcome: Outcome) -> tuple[str, ...]:
    size = "?" if outcome.bytes is None else f"{outcome.bytes / 1e6:,.0f} MB"
    last = ", ".join(outcome.proof) or outcome.url or ""
    return (outcome.name, size, SPOKEN[outcome.action], last)
