"""``harness download``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
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

#: Of what no source gives a hash for.
SPOKEN_UNPROVEN = {
    **SPOKEN,
    "known": "there, not proven",
    "proven": "there, not proven",
    "fetched": "fetched, not proven",
    "selected": "selected, not proven",
    "would-prove": "is there, cannot be proven",
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
            console.print_parts("", f"{_summary(outcomes)}: {arguments.root}")
    return 0


def _summary(outcomes: Sequence[Outcome]) -> str:
    unproven = [one.name for one in outcomes if not one.can_be_proven]
    if not unproven:
        return "everything is proven"
    rest = "; everything else is proven" if len(unproven) < len(outcomes) else ""
    return f"no source gives a hash to prove {', '.join(unproven)} with{rest}"


def _row(outcome: Outcome) -> tuple[str, ...]:
    size = "?" if outcome.bytes is None else f"{outcome.bytes / 1e6:,.0f} MB"
    last = ", ".join(outcome.proof) or outcome.url or ""
    spoken = SPOKEN if outcome.can_be_proven else SPOKEN_UNPROVEN
    return (outcome.name, size, spoken[outcome.action], last)
