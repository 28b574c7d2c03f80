"""Where files are: the lock, the data sets with the checkpoints, and the results.

Data sets and checkpoints are in

1. the folder that ``DETECTRON2_DATASETS`` names,
2. ``datasets`` in the folder that ``HARNESS_ROOT`` names,
3. ``datasets`` beside the nearest lock file, upward from the working folder,
4. ``datasets`` of the checkout that the package runs from,
5. the user's cache folder.

Results are in ``results`` of the same folders (``DETECTRON2_DATASETS`` does not count), and at the
end of that list in ``results`` of the working folder. The first that applies is used. An
option of a command, such as ``--root``, comes before all.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import PrerequisiteError, UsageError

LOCK_NAME = "model_zoo.lock.json"

#: Environment variables that are read; Detectron2 reads the second one, too.
ROOT_VARIABLE, DATASETS_VARIABLE = "HARNESS_ROOT", "DETECTRON2_DATASETS"

#: Name of the folder in the user's cache folder; the name of the distribution.
CACHE_NAME = "coco-harness"

PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A folder and how it was chosen."""

    path: Path
    """Absolute; it may not exist yet."""

    reason: str
    """Which rule chose it, as ``harness doctor`` prints it."""


def find_lock() -> Path:
    """Find the lock file.

    Returns:
        The one in ``HARNESS_ROOT``, else the nearest upward from the working folder, else the one
        that belongs to the package.

    Raises:
        PrerequisiteError: There is none.
        UsageError: ``HARNESS_ROOT`` names a file.
    """
    project = _project()
    if project is not None and (project.path / LOCK_NAME).is_file():
        return project.path / LOCK_NAME
    for folder in (*_upward(), PACKAGE.parent, PACKAGE):
        if (folder / LOCK_NAME).is_file():
            return folder / LOCK_NAME
    raise PrerequisiteError(
        f"no {LOCK_NAME} in {Path.cwd()} or above it, nor in {PACKAGE}",
        hint="install the package again, or run harness inside a checkout of the project",
    )


def datasets_place() -> Place:
    """Choose the folder of data sets and checkpoints when no option names one.

    Raises:
        UsageError: An environment variable names a file.
    """
    if named := _named_by(DATASETS_VARIABLE):
        return named
    if (project := _project()) is not None:
        return Place(path=project.path / "datasets", reason=project.reason)
    import platformdirs

    cache = platformdirs.user_cache_path(CACHE_NAME, appauthor=False)
    return Place(path=cache / "datasets", reason="the user's cache folder: not in a checkout")


def results_place() -> Place:
    """Choose the folder of runs, nights and accepted numbers when no option names one.

    Raises:
        UsageError: ``HARNESS_ROOT`` names a file.
    """
    if (project := _project()) is not None:
        return Place(path=project.path / "results", reason=project.reason)
    return Place(path=Path.cwd() / "results", reason="the working folder: not in a checkout")


def datasets_folder() -> Path:
    """Return the default folder of data sets and checkpoints."""
    return datasets_place().path


def results_folder() -> Path:
    """Return the default folder of the history and of accepted numbers."""
    return results_place().path


def runs_folder() -> Path:
    """Return the default folder of runs."""
    return results_folder() / "runs"


def checkout_folder() -> Path | None:
    """Return the checkout that the package runs from; None for an installed package."""
    return PACKAGE.parent if (PACKAGE.parent / LOCK_NAME).is_file() else None


def _project() -> Place | None:
    """Return the folder that has, or gets, ``datasets`` and ``results``; None when installed."""
    if named := _named_by(ROOT_VARIABLE):
        return named
    for folder in _upward():
        if (folder / LOCK_NAME).is_file():
            return Place(path=folder, reason=f"{LOCK_NAME} is in {folder}")
    checkout = checkout_folder()
    if checkout is None:
        return None
    return Place(path=checkout, reason=f"the package runs from the checkout {checkout}")


def _named_by(variable: str) -> Place | None:
    """Return the folder an environment variable names; None when it is empty or not set."""
    value = os.environ.get(variable)
    if not value:
        return None
    path = Path(value).expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise UsageError(
            f"the environment variable {variable} names {path}, which is not a folder",
            hint=f"set {variable} to a folder, or unset it",
        )
    return Place(path=path, reason=f"the environment variable {variable}")


def _upward() -> tuple[Path, ...]:
    return (Path.cwd(), *Path.cwd().parents)


def default_places() -> dict[str, Path]:
    """The folders that are defaults of settings, by the name of the place."""
    return {"datasets": datasets_folder(), "results": results_folder()}
