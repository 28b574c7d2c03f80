"""``harness train``."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import TYPE_CHECKING

from harness.cli import console
from harness.cli.eval import answer_result
from harness.cli.options import add_answered_settings, settings_from
from harness.core.requests.training import TrainRequest

if TYPE_CHECKING:
    from harness.workflows.training.dry_run import DryRun


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of TrainRequest."""
    add_answered_settings(parser, TrainRequest)


def run(arguments: argparse.Namespace) -> int:
    """Print the plan, train, print the table and the verdict; return the exit code."""
    from harness import api
    from harness.training.group import launched

    settings = settings_from(TrainRequest, arguments)
    if settings.pop("dry_run"):
        _print_plan(api.plan_training(**settings), arguments)
        return 0
    world = launched()
    if world is not None and not world.is_first:
        api.follow_training(**settings)
        return 0
    result = api.train(
        **settings,
        progress=partial(
            console.TerminalProgress, quiet=arguments.quiet, verbose=arguments.verbose
        ),
        command=("harness", *sys.argv[1:]),
    )
    return answer_result(result, arguments)


def _print_plan(found: DryRun, arguments: argparse.Namespace) -> None:
    if arguments.json:
        console.answer_json(found)
        return
    console.answer(*found.plan)
    console.answer(
        f"measured: {found.s_per_iteration:.3f} s an iteration on {found.device}, "
        f"{found.memory_bytes / 2**30:.2f} GiB; the whole schedule takes about "
        f"{_duration(found.expected_s)}"
    )


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
