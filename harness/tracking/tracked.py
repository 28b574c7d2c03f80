"""What a tracker is given: the settings, numbers and files of something that is finished."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.core.errors import PrerequisiteError
from harness.core.requests.reports import TrackerName
from harness.files.extras import install_command

#: Project or experiment that everything is in, unless the tracker's own variables name another.
PROJECT = "harness"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """A run or a night."""

    name: str
    """Its id."""
    kind: str
    """``eval``, ``bench``, ``train`` or ``nightly``."""
    created_utc: str
    """When it began, in ISO 8601."""
    folder: Path
    """Where it is."""
    settings: Mapping[str, str]
    """What was asked for, and on which machine, by dotted name."""
    tags: Mapping[str, str]
    """Verdict, versions and commit."""
    metrics: Mapping[str, float]
    """Numbers by name; what could not be computed is left out."""
    series: tuple[tuple[int, Mapping[str, float]], ...]
    """(iteration, numbers by name) of a training."""
    files: tuple[Path, ...]
    """Record, page and tables."""

    @property
    def began_ms(self) -> int:
        """When it began, in milliseconds since 1970."""
        return round(datetime.fromisoformat(self.created_utc).timestamp() * 1000)


def require_package(name: TrackerName) -> None:
    """Check that the package of a tracker is installed.

    Raises:
        PrerequisiteError: It is not.
    """
    if importlib.util.find_spec(name) is None:
        raise PrerequisiteError(
            f"--track {name} needs the package {name}", hint=f"run: {install_command(name)}"
        )


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as texts by dotted name; what is None is left out.

    Args:
        tree: Plain values.
        prefix: Before each name.
    """
    found: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        elif value is not None:
            found[f"{prefix}{key}"] = str(value)
    return found
