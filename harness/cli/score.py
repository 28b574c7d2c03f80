"""``harness score``."""

from __future__ import annotations

import argparse
import sys

from harness.cli import console
from harness.cli.options import add_output_settings, settings_from
from harness.cli.records import FAILED_VERDICT_EXIT_CODE, print_record
from harness.core.requests.inference import ScoreRequest
from harness.core.requests.queries import RecordOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of ScoreRequest."""
    add_output_settings(parser, ScoreRequest, RecordOptions)


def run(arguments: argparse.Namespace) -> int:
    """Score, and print; return the exit code. Predictions of unknown origin are not judged."""
    from harness import api

    record = api.score(**settings_from(ScoreRequest, arguments), command=("harness", *sys.argv[1:]))
    if arguments.json:
        console.print_json(record)
    else:
        for sentence in record.dataset.warnings:
            console.progress_of(arguments).notice(f"data: {sentence}")
        for sentence in record.notes:
            console.progress_of(arguments).notice(f"suspicion: {sentence}")
        print_record(record, arguments, arguments.output)
    return FAILED_VERDICT_EXIT_CODE if record.verdict.outcome == "fail" else 0
