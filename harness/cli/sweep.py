"""``harness sweep``."""

from __future__ import annotations

import argparse
import sys

from harness.cli import console
from harness.cli.options import add_output_settings, settings_from
from harness.core.requests.inference import SweepRequest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of SweepRequest."""
    add_output_settings(parser, SweepRequest)


def run(arguments: argparse.Namespace) -> int:
    """Measure all combinations, print the table and the recommendations; return the exit code."""
    from harness import api
    from harness.core.run_files import PAGE
    from harness.report.sweep import sweep_parts
    from harness.workflows.benchmark.sweep import PICTURE

    result = api.sweep(
        **settings_from(SweepRequest, arguments),
        progress=console.progress_of(arguments),
        command=("harness", *sys.argv[1:]),
    )
    if arguments.json:
        console.print_json(result.sweep)
        return 0
    console.print_parts(
        *sweep_parts(result.sweep, arguments.format or console.default_format()), ""
    )
    files = [result.folder / name for name in (PAGE, PICTURE) if (result.folder / name).exists()]
    console.print_parts(*(f"written: {path}" for path in files))
    return 0
