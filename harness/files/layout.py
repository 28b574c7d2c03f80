"""Where the project's files are: the lock, data sets, results."""

from __future__ import annotations

from pathlib import Path

from harness.core.errors import PrerequisiteError

LOCK_NAME = "model_zoo.lock.json"


def find_lock() -> Path:
    """The nearest lock file upward from the working folder, else the one of the package.

    Raises PrerequisiteError when there is none.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (Path.cwd(), *Path.cwd().parents, package.parent, package):
        if (folder / LOCK_NAME).is_file():
            return folder / LOCK_NAME
    raise PrerequisiteError(
        f"no {LOCK_NAME} in {Path.cwd()} or above it",
        hint="run harness inside a checkout of the project",
    )


def results_folder() -> Path:
    """Where the history and accepted numbers are by default: ``results`` beside the lock."""
    return find_lock().parent / "results"


def runs_folder() -> Path:
    """Where runs go by default: ``results/runs`` beside the lock."""
    return results_folder() / "runs"


def datasets_folder() -> Path:
    """Where data sets and checkpoints lie by default: ``datasets`` beside the lock."""
    return find_lock().parent / "datasets"
