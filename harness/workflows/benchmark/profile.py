"""``harness profile``: what a bench's run folder also holds, and how it is read back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.core.engine import EXPORT_FORMATS, Engine
from harness.core.errors import UsageError
from harness.core.progress import Progress
from harness.core.requests.inference import BenchRequest
from harness.files.atomic import write_text
from harness.files.json import dumps, read, to_plain, to_typed
from harness.measure.profile import Profile
from harness.report.profile import draw_profile, explain

PROFILE = "profile.json"
TRACE = "trace.json"
PICTURE = "profile.png"

#: What a record calls the files of a profile.
ARTEFACTS = {"profile": PROFILE, "trace": TRACE, "profile_picture": PICTURE}


def check_profiling(request: BenchRequest) -> None:
    """Check that a request's profile is possible.

    Raises:
        UsageError: The engine has no torch network to profile.
    """
    engine = request.inference.options.engine
    if request.profiling and engine in ("fake", *EXPORT_FORMATS):
        raise UsageError(
            f"--profile looks into the layers of a network, and the {engine} engine has none",
            hint="leave out --engine",
        )


def write_profile(
    folder: Path,
    engine: Engine,
    batches: Sequence[list[Any]],
    *,
    repeats: int,
    clock: Callable[[], float],
    progress: Progress,
) -> dict[str, str]:
    """Profile a warm engine, and write the results into the folder of a run.

    The plot is left out where matplotlib is missing.

    Args:
        folder: The run folder.
        engine: Open, with its warm-up done.
        batches: Prepared images, all timed in every repeat.
        repeats: Passes over the batches.
        clock: Returns seconds.
        progress: Receives progress.

    Returns:
        Names of the written files by what a record calls them.
    """
    from harness.engines.profiling import profile_engine

    found = profile_engine(
        engine, batches, repeats=repeats, trace=folder / TRACE, clock=clock, progress=progress
    )
    found = replace(found, explanation=explain(found))
    write_text(folder / PROFILE, dumps(to_plain(found), indent=2) + "\n")
    draw_profile(found, folder / PICTURE)
    return {name: file for name, file in ARTEFACTS.items() if (folder / file).exists()}


def read_profile(folder: Path) -> Profile:
    """Return the profile that a benchmark wrote into its folder.

    Raises:
        UsageError: There is none.
        IntegrityError: It is damaged.
    """
    return to_typed(Profile, read(folder / PROFILE), where=str(folder / PROFILE))
