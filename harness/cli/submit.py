"""``harness submit eval|bench|train|nightly``."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.cli import console
from harness.cli.options import add_settings, request_from
from harness.core.requests.cluster import SubmitBench, SubmitEval, SubmitNight, SubmitTrain
from harness.core.requests.queries import JsonOutput

#: Kind of work → its request, and one line of help.
WORK: dict[str, tuple[type[Any], str]] = {
    "eval": (SubmitEval, "an accuracy run: independent shards, then one scoring job"),
    "bench": (SubmitBench, "a speed run on one device"),
    "train": (SubmitTrain, "a training, on several nodes if you like"),
    "nightly": (SubmitNight, "a night: a matrix of models and engines"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one sub-command for each kind of work."""
    kinds = parser.add_subparsers(dest="kind", metavar="work", required=True)
    for name, (request, help_line) in WORK.items():
        add_settings(kinds.add_parser(name, help=help_line), request, JsonOutput)


def run(arguments: argparse.Namespace) -> int:
    """Submit, and print the run folder and the jobs; return the exit code."""
    if arguments.kind == "eval":
        return _evaluation(request_from(SubmitEval, arguments), arguments)
    return _one_job(arguments)


def _evaluation(request: SubmitEval, arguments: argparse.Namespace) -> int:
    from harness.cluster.evaluation import scripts_of, submit_evaluation
    from harness.core.clock import utc_now

    if request.dry_run:
        console.print_parts(*scripts_of(request, utc_now()))
        return 0
    submitted = submit_evaluation(
        request, progress=console.progress_of(arguments), command=_command(), now=utc_now()
    )
    return _print_submitted(arguments, submitted.folder, submitted.submission.job_ids)


def _one_job(arguments: argparse.Namespace) -> int:
    from harness.cluster.job import (
        plan_bench,
        plan_night,
        plan_training,
        script_of,
        submit_planned,
    )
    from harness.core.clock import utc_now

    now, command = utc_now(), _command()
    match arguments.kind:
        case "bench":
            planned = plan_bench(request_from(SubmitBench, arguments), command=command, now=now)
        case "nightly":
            planned = plan_night(request_from(SubmitNight, arguments), now=now)
        case _:
            planned = plan_training(request_from(SubmitTrain, arguments), command=command, now=now)
    if arguments.dry_run:
        console.print_parts(script_of(planned, arguments.cluster))
        return 0
    submission = submit_planned(
        planned,
        arguments.cluster,
        progress=console.progress_of(arguments),
        command=command,
        now=now,
    )
    return _print_submitted(arguments, planned.folder, submission.job_ids)


def _print_submitted(arguments: argparse.Namespace, folder: Path, jobs: Sequence[str]) -> int:
    if arguments.json:
        console.print_json({"folder": folder, "jobs": jobs})
    else:
        console.print_parts(f"run folder: {folder}", f"jobs: {' '.join(jobs)}")
        console.print_parts(f"wait for it: harness wait {shlex.quote(str(folder))}")
    return 0


def _command() -> tuple[str, ...]:
    return ("harness", *sys.argv[1:])
