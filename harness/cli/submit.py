"""``harness submit eval``."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from harness.cli import console
from harness.cli.eval import add_run_options
from harness.cli.options import add_inference_options, inference_from, request_from
from harness.core.requests import EvalRequest, SubmitRequest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One sub-command for each kind of work."""
    kinds = parser.add_subparsers(dest="work", metavar="work", required=True)
    evaluation = kinds.add_parser(
        "eval", help="an accuracy run: independent shards, then one scoring job"
    )
    cluster = evaluation.add_argument_group("the cluster")
    cluster.add_argument(
        "--profile", type=Path, required=True, help="TOML file of the cluster; slurm/example.toml"
    )
    cluster.add_argument(
        "--shards", type=int, default=8, metavar="N", help="tasks of the job array (default: 8)"
    )
    cluster.add_argument(
        "--dry-run", action="store_true", help="print the batch scripts, submit nothing"
    )
    cluster.add_argument(
        "--rehearse-preemption",
        action="store_true",
        help="have every task preempted when half is done, and compare with an undisturbed run",
    )
    cluster.add_argument("--json", action="store_true", help="print run folder and jobs as JSON")
    add_inference_options(evaluation)
    add_run_options(evaluation)


def run(arguments: argparse.Namespace) -> int:
    """Submit, print the run folder and the jobs, and leave."""
    from harness.pipeline.run_folder import utc_now
    from harness.pipeline.submit import scripts_of, submit_evaluation

    evaluation = request_from(EvalRequest, arguments, inference=inference_from(arguments))
    request = request_from(SubmitRequest, arguments, evaluation=evaluation)
    if request.dry_run:
        console.answer(*scripts_of(request, utc_now()))
        return 0
    submitted = submit_evaluation(
        request,
        progress=console.TerminalProgress(),
        command=("harness", *sys.argv[1:]),
        now=utc_now(),
    )
    jobs, folder = submitted.submission.job_ids, submitted.folder
    if arguments.json:
        console.answer_json({"folder": folder, "jobs": jobs})
    else:
        console.answer(f"run folder: {folder}", f"jobs: {' '.join(jobs)}")
        console.answer(f"wait for it: harness wait {shlex.quote(str(folder))}")
    return 0
