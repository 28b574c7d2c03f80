"""``harness parity``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from harness.cli import console
from harness.cli.options import add_answered_settings, request_from
from harness.core.requests.zoo import ParityRequest

if TYPE_CHECKING:
    from harness.engines.parity import ParityReport

NO_PARITY_EXIT_CODE = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of ParityRequest."""
    add_answered_settings(parser, ParityRequest)


def run(arguments: argparse.Namespace) -> int:
    """Compare, print one row a stage; return 0, or 1 where a stage differs."""
    from harness.workflows.parity import check_parity

    report = check_parity(
        request_from(ParityRequest, arguments), progress=console.progress_of(arguments)
    )
    if arguments.json:
        console.answer_json(report)
    else:
        answer_parity(report, arguments)
    return 0 if report.first_failing is None else NO_PARITY_EXIT_CODE


def answer_parity(report: ParityReport, arguments: argparse.Namespace) -> None:
    """Print one row a stage, and the sentence that sums them up.

    Args:
        report: Of the comparison.
        arguments: The parsed command line.
    """
    from harness.report.tables import render

    rows = [
        (
            row.stage,
            f"{row.max_absolute:.2e}",
            f"{row.max_relative:.2e}",
            "" if row.share is None else f"{100 * row.share:.3f} %",
            row.tolerance,
            "pass" if row.ok else "fail",
        )
        for row in report.stages
    ]
    columns = ("stage", "max |Δ|", "relative", "within", "tolerance", "status")
    console.answer(render(columns, rows, arguments.format or console.default_format()))
    console.answer("", _sentence(report))


def _sentence(report: ParityReport) -> str:
    seen = f"{report.images} image(s) with {report.agreement.detections} detections"
    if report.first_failing is not None:
        return f"NO PARITY: over {seen}, the first stage that differs is: {report.first_failing}"
    if report.agreement.detections == 0:
        return f"PARITY, but over {seen}: boxes and masks were not put to the test"
    return f"PARITY: the engines agree on {seen} in every stage"
