"""``harness score``."""

from __future__ import annotations

import argparse
import sys
import time

from harness.cli import console
from harness.cli.eval import FAILED_VERDICT_EXIT_CODE, print_record
from harness.cli.options import add_answered_settings, request_from
from harness.core.requests.asking import RecordOptions
from harness.core.requests.inference import ScoreRequest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The settings of ScoreRequest."""
    add_answered_settings(parser, ScoreRequest, RecordOptions)


def run(arguments: argparse.Namespace) -> int:
    """Score, print, answer the exit code; predictions of unknown origin are not judged."""
    from harness.measure.timing import PhaseTimer
    from harness.workflows.evaluation.score import score_saved
    from harness.workflows.runs.folder import utc_now

    record = score_saved(
        request_from(ScoreRequest, arguments),
        command=("harness", *sys.argv[1:]),
        now=utc_now(),
        stopwatch=PhaseTimer(time.perf_counter, lambda: None),
    )
    if arguments.json:
        console.answer_json(record)
    else:
        for sentence in record.dataset.warnings:
            console.progress_of(arguments).notice(f"data: {sentence}")
        print_record(record, arguments, arguments.output)
    return FAILED_VERDICT_EXIT_CODE if record.verdict.outcome == "fail" else 0
