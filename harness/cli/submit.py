"""``harness submit eval|bench|train|nightly``."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.cli import console
from harness.cli.bench import add_measurement_options
from harness.cli.eval import add_run_options
from harness.cli.nightly import add_night_options, night_from
from harness.cli.options import add_inference_options, inference_from, request_from
from harness.cli.train import add_training_options
from harness.core.requests.cluster import SubmitRequest, Work
from harness.core.requests.inference import BenchRequest, EvalRequest
from harness.core.requests.training import TrainRequest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One sub-command for each kind of work."""
    kinds = parser.add_subparsers(dest="kind", metavar="work", required=True)
    evaluation = kinds.add_parser(
        "eval", help="an accuracy run: independent shards, then one scoring job"
    )
    cluster = _add_cluster_options(evaluation)
    cluster.add_argument(
        "--shards", type=int, default=8, metavar="N", help="tasks of the job array (default: 8)"
    )
    _add_rehearsal(cluster)
    add_inference_options(evaluation)
    add_run_options(evaluation)
    bench = kinds.add_parser("bench", help="a speed run on one device")
    _add_cluster_options(bench)
    add_inference_options(bench)
    add_measurement_options(bench)
    training = kinds.add_parser("train", help="a training, on several nodes if you like")
    cluster = _add_cluster_options(training)
    cluster.add_argument("--nodes", type=int, default=1, metavar="N")
    cluster.add_argument(
        "--tasks-per-node", type=int, metavar="N", help="processes; default: the profile's GPUs"
    )
    _add_rehearsal(cluster)
    add_training_options(training)
    night = kinds.add_parser("nightly", help="a night: a matrix of models and engines")
    _add_cluster_options(night)
    add_night_options(night)


def _add_cluster_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    cluster = parser.add_argument_group("the cluster")
    cluster.add_argument(
        "--profile", type=Path, required=True, help="TOML file of the cluster; slurm/example.toml"
    )
    cluster.add_argument(
        "--dry-run", action="store_true", help="print the batch scripts, submit nothing"
    )
    cluster.add_argument("--json", action="store_true", help="print run folder and jobs as JSON")
    return cluster


def _add_rehearsal(cluster: argparse._ArgumentGroup) -> None:
    cluster.add_argument(
        "--rehearse-preemption",
        action="store_true",
        help="have every job preempted when half is done, and compare with an undisturbed run",
    )


def run(arguments: argparse.Namespace) -> int:
    """Submit, print the run folder and the jobs, and leave."""
    return _evaluation(arguments) if arguments.kind == "eval" else _one_job(arguments)


def _evaluation(arguments: argparse.Namespace) -> int:
    from harness.workflows.cluster.evaluation import scripts_of, submit_evaluation
    from harness.workflows.runs.folder import utc_now

    work = request_from(EvalRequest, arguments, inference=inference_from(arguments))
    request = _submit(arguments, work)
    if request.dry_run:
        console.answer(*scripts_of(request, utc_now()))
        return 0
    submitted = submit_evaluation(
        request, progress=console.TerminalProgress(), command=_command(), now=utc_now()
    )
    return _answer(arguments, submitted.folder, submitted.submission.job_ids)


def _one_job(arguments: argparse.Namespace) -> int:
    from harness.files.layout import datasets_folder
    from harness.workflows.cluster.job import (
        plan_bench,
        plan_night,
        plan_training,
        script_of,
        submit_planned,
    )
    from harness.workflows.runs.folder import utc_now

    now, command = utc_now(), _command()
    match arguments.kind:
        case "bench":
            bench = request_from(BenchRequest, arguments, inference=inference_from(arguments))
            planned = plan_bench(_submit(arguments, bench), command=command, now=now)
        case "nightly":
            planned = plan_night(_submit(arguments, night_from(arguments)), now=now)
        case _:
            root = arguments.root or datasets_folder()
            training = request_from(TrainRequest, arguments, root=root, dry_run=False)
            planned = plan_training(_submit(arguments, training), command=command, now=now)
    if arguments.dry_run:
        console.answer(script_of(planned, arguments.profile))
        return 0
    submission = submit_planned(
        planned,
        arguments.profile,
        progress=console.TerminalProgress(),
        command=command,
        now=now,
    )
    return _answer(arguments, planned.folder, submission.job_ids)


def _submit(arguments: argparse.Namespace, work: Work) -> SubmitRequest[Work]:
    return request_from(SubmitRequest, arguments, work=work)


def _answer(arguments: argparse.Namespace, folder: Path, jobs: Sequence[str]) -> int:
    if arguments.json:
        console.answer_json({"folder": folder, "jobs": jobs})
    else:
        console.answer(f"run folder: {folder}", f"jobs: {' '.join(jobs)}")
        console.answer(f"wait for it: harness wait {shlex.quote(str(folder))}")
    return 0


def _command() -> tuple[str, ...]:
    return ("harness", *sys.argv[1:])
