"""``harness status``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli import console
from harness.cli.options import add_answer_options

if TYPE_CHECKING:
    from harness.pipeline.submission import RunStatus

COLUMNS = ("job", "id", "status", "images", "restarts", "node", "reason")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run."""
    parser.add_argument("run", type=Path, help="run folder")
    add_answer_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print one row a job, and how long it will take."""
    from harness.pipeline.submission import status_of
    from harness.report.tables import render

    status = status_of(arguments.run)
    if arguments.json:
        console.answer_json(status)
        return 0
    rows = [
        (
            job.name,
            job.job_id,
            job.stage,
            f"{job.done}/{job.images}" if job.images else "",
            str(job.restarts),
            job.node,
            job.reason,
        )
        for job in status.jobs
    ]
    console.answer(render(COLUMNS, rows, arguments.format or console.default_format()), "")
    console.answer(_sentence(status))
    return 0


def _sentence(status: RunStatus) -> str:
    done = f"{status.done} of {status.images} images"
    if not status.live:
        return f"{done}; no job is at work"
    if status.done == status.images:
        return f"{done}; they are being merged and scored"
    if status.eta_s is None:
        return f"{done}; no speed is known yet"
    minutes, seconds = divmod(round(status.eta_s), 60)
    return f"{done}; {minutes} min {seconds:02d} s to go at the present speed"
