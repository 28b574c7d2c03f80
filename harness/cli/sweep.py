"""``harness sweep``."""

from __future__ import annotations

import argparse
import sys

from harness.cli import console
from harness.cli.options import add_answered_settings, request_from
from harness.core.requests.inference import SweepRequest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The settings of SweepRequest."""
    add_answered_settings(parser, SweepRequest)


def run(arguments: argparse.Namespace) -> int:
    """Measure all combinations, print the table and the recommendations."""
    from harness.report.sweep import sweep_parts
    from harness.workflows.benchmark.sweep import PICTURE, sweep
    from harness.workflows.runs.files import PAGE
    from harness.workflows.runs.folder import utc_now

    found, folder = sweep(
        request_from(SweepRequest, arguments),
        progress=console.progress_of(arguments),
        command=("harness", *sys.argv[1:]),
        now=utc_now(),
    )
    if arguments.json:
        console.answer_json(found)
        return 0
    console.answer(*sweep_parts(found, arguments.format or console.default_format()), "")
    files = [folder / name for name in (PAGE, PICTURE) if (folder / name).exists()]
    console.answer(*(f"written: {path}" for path in files))
    return 0
