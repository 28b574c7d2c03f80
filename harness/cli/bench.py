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
from harness.cli.sweep import add_sweep_options, require_sweep, run_sweep
from harness.core.record import RunRecord
from harness.core.requests.inference import BenchRequest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of BenchRequest and SweepRequest."""
    add_inference_options(parser)
    add_measurement_options(parser)
    # Not on a cluster, where --profile names the cluster's profile.
    parser.add_argument(
        "--profile",
        dest="profiling",
        action="store_true",
        help="afterwards, also say where the time goes: by stage, by operator, and as a trace",
    )
    add_sweep_options(parser)
    add_answer_options(parser)


def add_measurement_options(parser: argparse.ArgumentParser) -> None:
    """The options of BenchRequest that mean the same here and on a cluster."""
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


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the table and the verdict, answer the exit code."""
    require_sweep(arguments)
    if arguments.sweep:
        return run_sweep(arguments)
    from harness.workflows.benchmark.bench import bench
    from harness.workflows.runs.folder import utc_now

    record, folder = bench(
        request_from(BenchRequest, arguments, inference=inference_from(arguments)),
        progress=console.TerminalProgress(),
        command=("harness", *sys.argv[1:]),
        now=utc_now(),
    )
    if arguments.profiling:
        _answer_with_profile(record, arguments, folder)
    elif arguments.json:
        console.answer_json(record)
    else:
        print_record(record, arguments, folder)
    return FAILED_VERDICT_EXIT_CODE if record.verdict.outcome == "fail" else 0


def _answer_with_profile(record: RunRecord, arguments: argparse.Namespace, folder: Path) -> None:
    """The record, then the profile that lies beside it."""
    from harness.report.profile import profile_parts
    from harness.workflows.benchmark.profile import ARTEFACTS, read_profile

    profile = read_profile(folder)
    if arguments.json:
        console.answer_json({"record": record, "profile": profile})
        return
    print_record(record, arguments, folder)
    console.answer("", *profile_parts(profile, arguments.format or console.default_format()))
    found = [folder / record.artefacts[name] for name in ARTEFACTS if name in record.artefacts]
    console.answer("", *(f"profile: {path}" for path in found))
