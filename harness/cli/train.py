"""``harness train``."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import TYPE_CHECKING

from harness.cli import console
from harness.cli.options import add_output_settings, settings_from
from harness.cli.records import print_result, require_trackers, track
from harness.core.requests.reports import TrackOptions
from harness.core.requests.training import TrainRequest

if TYPE_CHECKING:
    from harness.core.results import RunResult
    from harness.workflows.training.dry_run import DryRun, Planned


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of TrainRequest."""
    add_output_settings(parser, TrainRequest, TrackOptions)


def run(arguments: argparse.Namespace) -> int:
    """Print the plan, train, print the table and the verdict; return the exit code."""
    from harness import api
    from harness.training.group import launched

    settings = settings_from(TrainRequest, arguments)
    if settings.pop("dry_run"):
        planned = api.plan_training(
            **settings,
            progress=console.progress_of(arguments),
            on_plan=None if arguments.json else _print_plan,
        )
        _print_measured(planned, arguments)
        return 0
    world = launched()
    if world is not None and not world.is_first:
        api.follow_training(**settings)
        return 0
    require_trackers(arguments)
    result = api.train(
        **settings,
        progress=partial(
            console.TerminalProgress, quiet=arguments.quiet, verbose=arguments.verbose
        ),
        command=("harness", *sys.argv[1:]),
    )
    track(arguments, result.folder)
    if arguments.json:
        return print_result(result, arguments)
    _print_summary(result, arguments)
    if result.record.resolved["summary"]["retraining"]:
        return print_result(result, arguments)
    console.print_parts(f"record: {result.folder / 'record.json'}")
    return 0


def _print_summary(result: RunResult, arguments: argparse.Namespace) -> None:
    """Print AP before and after, categories, losses, files, and what to type next."""
    from harness.report import record_rows, tables

    found = result.record.resolved["summary"]
    style = arguments.format or console.default_format()
    columns, rows = record_rows.score_rows(found)
    console.print_parts(tables.render(columns, rows, style), "")
    counts = result.record.resolved["object_counts"]
    columns, rows = record_rows.learned_rows(found["per_category"], counts)
    console.print_parts(tables.render(columns, rows, style), "")
    files = [("best weights", found["weights"]), ("last weights", found["last_weights"])]
    files += [
        (name, str(result.folder / result.record.artefacts[name]))
        for name in ("curves", "pictures", "report", "metrics")
        if name in result.record.artefacts
    ]
    for name, path in files:
        console.print_parts(f"{name + ':':14}{path}")
    console.print_parts("", "next:", *(f"  {command}" for command in found["next_commands"]), "")


def _print_plan(planned: Planned) -> None:
    """Print the plan and what is missing, before an iteration is measured: that may take long."""
    console.print_parts(*planned.plan)
    for what in planned.missing:
        console.print_parts(f"missing: {what}")
    if planned.fetch is not None:
        console.print_parts(f"fetch it with: {planned.fetch}")


def _print_measured(found: DryRun, arguments: argparse.Namespace) -> None:
    if arguments.json:
        console.print_json(found)
        return
    how = "estimated from one and two images" if found.is_estimated else "measured"
    console.print_parts(
        f"{how}: {found.s_per_iteration:.3f} s an iteration on {found.device}, "
        f"{found.memory_bytes / 2**30:.2f} GiB, on {found.measured_on}; the whole schedule takes "
        f"about {_duration(found.expected_s)}"
    )
    if found.advice is not None:
        console.print_parts(f"warning: {found.advice}")


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
