"""``harness status``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from harness.cli import console
from harness.cli.options import add_output_settings
from harness.core.requests.queries import RunFolderRequest

if TYPE_CHECKING:
    from harness.cluster.status import RunStatus


#: What happens when all is counted.
FINISHING = {
    "images": "they are being merged and scored",
    "iterations": "the weights are being evaluated",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run."""
    add_output_settings(parser, RunFolderRequest)


def run(arguments: argparse.Namespace) -> int:
    """Print one row a job, and the remaining time; return the exit code."""
    from harness.cluster.status import status_of
    from harness.report.tables import render

    status = status_of(arguments.run)
    if arguments.json:
        console.print_json(status)
        return 0
    rows = [
        (
            job.name,
            job.job_id,
            job.stage,
            f"{job.done}/{job.total}" if job.total else "",
            str(job.restarts),
            job.node,
            job.reason.partition("\n")[0],
        )
        for job in status.jobs
    ]
    columns = ("job", "id", "status", status.unit or "done", "restarts", "node", "reason")
    console.print_parts(render(columns, rows, arguments.format or console.default_format()), "")
    console.print_parts(_sentence(status))
    return 0


def _sentence(status: RunStatus) -> str:
    counted = f"{status.done} of {status.total} {status.unit}"
    known = [counted if status.unit else "", status.note]
    done = ", ".join(part for part in known if part)
    if not status.live:
        return f"{done}; no job is running".removeprefix("; ")
    if not status.unit:
        return "at work; the job's log has how far it is"
    if status.done == status.total:
        return f"{done}; " + FINISHING[status.unit]
    if status.eta_s is None:
        return f"{done}; no speed is known yet"
    minutes, seconds = divmod(round(status.eta_s), 60)
    return f"{done}; {minutes} min {seconds:02d} s to go at the present speed"
