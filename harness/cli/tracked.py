"""``--track`` of the commands that have it."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.cli import console
from harness.core.errors import HarnessError


def require(arguments: argparse.Namespace) -> None:
    """Check that the trackers can be used, before the work begins.

    Args:
        arguments: The parsed command line.

    Raises:
        PrerequisiteError: The package of one is missing.
    """
    if arguments.track:
        from harness.workflows.tracking import require_trackers

        require_trackers(arguments.track)


def log(arguments: argparse.Namespace, folder: Path) -> None:
    """Give a finished run to the trackers; what one refuses is reported, and the run stands.

    Args:
        arguments: The parsed command line.
        folder: Of the run or night.
    """
    if not arguments.track:
        return
    from harness.workflows.tracking import track_run

    progress = console.progress_of(arguments)
    for name in arguments.track:
        try:
            progress.notice(f"tracked by {name}: {track_run(folder, name)}")
        except HarnessError as error:
            progress.notice(f"not tracked: {error}")
