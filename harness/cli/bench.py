"""``harness bench``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness.cli import console
from harness.cli.eval import FAILED_VERDICT_EXIT_CODE, print_record
from harness.cli.options import (
    add_answer_options,
    add_inference_options,
    inference_from,
    request_from,
)
from harness.core.requests import BenchRequest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of BenchRequest."""
    add_inference_options(parser)
    run = parser.add_argument_group("the measurement")
    run.add_argument("--warmup", type=int, default=5, help="images before the clock counts")
    run.add_argument("--repeats", type=int, default=3, help="passes over the images, at least")
    run.add_argument(
        "--min-duration", dest="min_duration_s", type=float, default=10.0, metavar="SECONDS"
    )
    run.add_argument("--output", type=Path, help="run folder; default: results/runs/<run id>")
    run.add_argument(
        "--require-reference", action="store_true", help="nothing to compare counts as failure"
    )
    add_answer_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the table and the verdict, answer the exit code."""
    from harness.pipeline.bench import bench
    from harness.pipeline.run_folder import utc_now

    record, folder = bench(
        request_from(BenchRequest, arguments, inference=inference_from(arguments)),
        progress=console.TerminalProgress(),
        command=("harness", *sys.argv[1:]),
        now=utc_now(),
    )
    if arguments.json:
        console.answer_json(record)
    else:
        print_record(record, arguments, folder)
    return FAILED_VERDICT_EXIT_CODE if record.verdict.outcome == "fail" else 0
