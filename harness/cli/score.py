"""``harness score``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from harness.cli import console
from harness.cli.eval import FAILED_VERDICT_EXIT_CODE, print_record
from harness.cli.options import add_answer_options, request_from
from harness.core.requests.inference import EVALUATORS, ScoreRequest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ScoreRequest."""
    parser.add_argument("run", nargs="?", type=Path, help="a run folder of harness eval")
    parser.add_argument("--predictions", type=Path, help="COCO results file")
    parser.add_argument("--annotations", type=Path, help="COCO annotation file")
    parser.add_argument("--evaluator", choices=EVALUATORS, default="fast")
    parser.add_argument("--output", type=Path, help="folder for a record of this scoring")
    parser.add_argument("--per-category", action="store_true", help="also print AP by category")
    add_answer_options(parser)


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
            console.TerminalProgress().notice(f"data: {sentence}")
        print_record(record, arguments, arguments.output)
    return FAILED_VERDICT_EXIT_CODE if record.verdict.outcome == "fail" else 0
