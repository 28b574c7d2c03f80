"""``harness download``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from harness.cli import console
from harness.cli.options import add_output_settings, settings_from
from harness.core.requests.zoo import DownloadRequest

if TYPE_CHECKING:
    from harness.zoo.download import Outcome

COLUMNS = ("artefact", "size", "what happened", "proof")
PLAN_COLUMNS = ("artefact", "size", "what would happen", "source")
SPOKEN = {
    "known": "there, proven before",
    "proven": "there, proven now",
    "fetched": "fetched and proven",
    "selected": "selected and proven",
    "would-prove": "would be proven",
    "would-fetch": "would be fetched",
    "would-select": "would be selected",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of DownloadRequest."""
    add_output_settings(parser, DownloadRequest)


def run(arguments: argparse.Namespace) -> int:
    """Fetch, prove, and print one row an artefact; return the exit code."""
    from harness import api
    from harness.report.tables import render

    outcomes = api.download(
        **settings_from(DownloadRequest, arguments), progress=console.progress_of(arguments)
    )
    if arguments.json:
        console.print_json(outcomes)
    else:
        style = arguments.format or console.default_format()
        columns = PLAN_COLUMNS if arguments.dry_run else COLUMNS
        console.print_parts(render(columns, [_row(one) for one in outcomes], style))
        if not arguments.dry_run:
            console.print_parts("", f"everything is proven: {arguments.root}")
    return 0


def _row(outcome: Outcome) -> tuple[str, ...]:
    size = "?" if outcome.bytes is None else f"{outcome.bytes / 1e6:,.0f} MB"
    last = ", ".join(outcome.proof) or outcome.url or ""
    return (outcome.name, size, SPOKEN[outcome.action], last)
