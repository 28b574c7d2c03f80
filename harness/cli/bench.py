"""``harness bench``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.cli import console
from harness.cli.options import add_output_settings, settings_from
from harness.cli.records import (
    FAILED_VERDICT_EXIT_CODE,
    print_record,
    print_result,
    require_trackers,
    track,
)
from harness.core.record import RunRecord
from harness.core.requests.inference import BenchRequest
from harness.core.requests.reports import TrackOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of BenchRequest."""
    add_output_settings(parser, BenchRequest, TrackOptions)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the table and the verdict; return the exit code."""
    require_trackers(arguments)
    return print_bench(settings_from(BenchRequest, arguments), arguments)


def print_bench(settings: Mapping[str, Any], arguments: argparse.Namespace) -> int:
    """Measure and print in the requested form; return the exit code of the verdict.

    Args:
        settings: Keywords of ``harness.benchmark``.
        arguments: The parsed command line.

    Returns:
        0, or 1 for a failed verdict.
    """
    from harness import api

    result = api.benchmark(
        **settings,
        progress=console.progress_of(arguments),
        command=("harness", *sys.argv[1:]),
    )
    if hasattr(arguments, "track"):
        track(arguments, result.folder)
    if not settings["profiling"]:
        return print_result(result, arguments)
    _print_with_profile(result.record, arguments, result.folder)
    return 0 if result.passed else FAILED_VERDICT_EXIT_CODE


def _print_with_profile(record: RunRecord, arguments: argparse.Namespace, folder: Path) -> None:
    """The record, then the profile beside it."""
    from harness.report.profile import profile_parts
    from harness.workflows.benchmark.bench import ARTEFACTS, read_profile

    profile = read_profile(folder)
    if arguments.json:
        console.print_json({"record": record, "profile": profile})
        return
    print_record(record, arguments, folder)
    console.print_parts("", *profile_parts(profile, arguments.format or console.default_format()))
    found = [folder / record.artefacts[name] for name in ARTEFACTS if name in record.artefacts]
    console.print_parts("", *(f"profile: {path}" for path in found))
