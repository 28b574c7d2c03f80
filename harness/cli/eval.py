"""``harness eval``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from harness.cli import console
from harness.cli.options import (
    add_answer_options,
    add_inference_options,
    inference_from,
    request_from,
)
from harness.core.record import RunRecord
from harness.core.requests.inference import EVALUATORS, EvalRequest

FAILED_VERDICT_EXIT_CODE = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of EvalRequest."""
    add_inference_options(parser)
    run = add_run_options(parser)
    run.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="share the images among N processes, a GPU each; on a CPU with one thread each "
        "unless --threads says otherwise, so N up to the number of cores pays",
    )
    run.add_argument("--per-category", action="store_true", help="also print AP by category")
    add_answer_options(parser)


def add_run_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """The options of EvalRequest that mean the same here and on a cluster."""
    run = parser.add_argument_group("the run")
    run.add_argument("--evaluator", choices=EVALUATORS, default="fast")
    run.add_argument("--output", type=Path, help="run folder; default: results/runs/<run id>")
    run.add_argument("--resume", action="store_true", help="continue an unfinished run")
    run.add_argument(
        "--require-reference", action="store_true", help="nothing to compare counts as failure"
    )
    return run


def run(arguments: argparse.Namespace) -> int:
    """Evaluate, print the table and the verdict, answer the exit code."""
    from harness.measure.timing import PhaseTimer
    from harness.workflows.evaluation.evaluate import evaluate
    from harness.workflows.runs.folder import utc_now

    record, folder = evaluate(
        request_from(EvalRequest, arguments, inference=inference_from(arguments)),
        progress=console.TerminalProgress(),
        command=("harness", *sys.argv[1:]),
        now=utc_now(),
        stopwatch=PhaseTimer(time.perf_counter, lambda: None),
    )
    return answer_record(record, arguments, folder)


def answer_record(record: RunRecord, arguments: argparse.Namespace, folder: Path) -> int:
    """Print a finished run's record as asked; the exit code its verdict deserves."""
    if arguments.json:
        console.answer_json(record)
    else:
        print_record(record, arguments, folder)
    return FAILED_VERDICT_EXIT_CODE if record.verdict.outcome == "fail" else 0


def print_record(record: RunRecord, arguments: argparse.Namespace, folder: Path | None) -> None:
    """One table of everything measured, the verdict line, and where the record is."""
    from harness.report import tables

    style = arguments.format or console.default_format()
    if getattr(arguments, "per_category", False):
        tasks = dict.fromkeys(f"{row.task} AP" for row in record.per_category)
        rows = tables.category_rows(record.per_category)
        console.answer(tables.render(("id", "category", *tasks), rows, style), "")
    rows = tables.record_rows(record.metrics, record.checks)
    console.answer(tables.render(tables.RECORD_COLUMNS, rows, style), "", _verdict(record, style))
    if folder is not None:
        console.answer(f"record: {folder / 'record.json'}")


def _verdict(record: RunRecord, style: str) -> object:
    if style != "rich":
        return record.verdict.line
    from rich.text import Text

    from harness.report.tables import verdict_colour

    return Text(record.verdict.line, style=verdict_colour(record))
