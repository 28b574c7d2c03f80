"""``harness nightly``."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.cli import console
from harness.cli.options import add_answer_options

REGRESSION_EXIT_CODE = 1
FAILED_EXIT_CODE = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to measure, and where nights are remembered."""
    parser.add_argument(
        "--matrix", type=Path, help="TOML file of what to measure; default: the embedded model"
    )
    parser.add_argument("--root", type=Path, help="where data and checkpoints lie")
    parser.add_argument(
        "--results", type=Path, help="folder of the history and accepted numbers (default: results)"
    )
    parser.add_argument(
        "--accept", action="store_true", help="propose tonight's numbers as the accepted ones"
    )
    add_answer_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the matrix; answer 1 for a regression, 5 for a failure that is none."""
    from harness.files.layout import datasets_folder, results_folder
    from harness.pipeline.nightly import read_matrix, run_night
    from harness.pipeline.run_folder import utc_now
    from harness.report.night import COLUMNS, night_rows
    from harness.report.tables import render

    night, folder, change = run_night(
        read_matrix(arguments.matrix),
        root=arguments.root or datasets_folder(),
        results=arguments.results or results_folder(),
        accept=arguments.accept,
        progress=console.TerminalProgress(),
        now=utc_now(),
    )
    if arguments.json:
        console.answer_json(night)
    else:
        style = arguments.format or console.default_format()
        console.answer(render(COLUMNS, night_rows(night), style), "")
        console.answer(f"{night.status.upper()}: {folder / 'index.html'}")
        if change:
            console.answer("", change, "", "read it, then commit it: the numbers are now accepted")
    codes = {"pass": 0, "regression": REGRESSION_EXIT_CODE, "failed": FAILED_EXIT_CODE}
    return codes[night.status]
