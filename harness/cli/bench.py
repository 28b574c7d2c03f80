"""``harness bench``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness.cli import console
from harness.cli.eval import FAILED_VERDICT_EXIT_CODE, print_record
from harness.cli.options import add_answered_settings, request_from
from harness.core.record import RunRecord
from harness.core.requests.inference import BenchRequest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The settings of BenchRequest."""
    add_answered_settings(parser, BenchRequest)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the table and the verdict, answer the exit code."""
    return answer_bench(request_from(BenchRequest, arguments), arguments)


def answer_bench(request: BenchRequest, arguments: argparse.Namespace) -> int:
    """Measure as asked, print the answer; the exit code the verdict deserves."""
    from harness.workflows.benchmark.bench import bench
    from harness.workflows.runs.folder import utc_now

    record, folder = bench(
        request,
        progress=console.progress_of(arguments),
        command=("harness", *sys.argv[1:]),
        now=utc_now(),
    )
    if request.profiling:
        _answer_with_profile(record, arguments, folder)
    elif arguments.json:
        console.answer_json(record)
    else:
        print_record(record, arguments, folder)
    return FAILED_VERDICT_EXIT_CODE if record.verdict.outcome == "fail" else 0


def _answer_with_profile(record: RunRecord, arguments: argparse.Namespace, folder: Path) -> None:
    """The record, then the profile beside it."""
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
