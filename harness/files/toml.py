"""TOML files as typed values."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, TypeVar

from harness.core.errors import IntegrityError, UsageError
from harness.core.shown import printable
from harness.files.json import to_typed

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")

#: Characters of the parser's message that are shown.
MESSAGE = 200


def read_toml(kind: type[T], path: Path) -> T:
    """The content of ``path`` as ``kind``; UsageError for unknown keys and for wrong values."""
    try:
        return to_typed(kind, read_table(path, what="file"), where=str(path))
    except IntegrityError as error:  # what people write by hand is part of what they ask for
        raise UsageError(error.message, hint=error.hint) from error


def read_table(path: Path, *, what: str) -> dict[str, Any]:
    """Read a TOML file as a table.

    Args:
        path: The file.
        what: The word for it in errors.

    Raises:
        UsageError: It is not there, cannot be read or is not TOML.
    """
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"no such {what}: {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {what} {path}: {error}") from error
    except RecursionError as error:
        raise UsageError(f"{path} is not TOML that can be read: it is nested too deeply") from error
    except ValueError as error:  # also numbers of more digits than Python reads
        reason = printable(str(error), MESSAGE)
        raise UsageError(f"{path} is not TOML: {reason}") from error
    return table
