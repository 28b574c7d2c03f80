"""TOML files as typed values."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TypeVar

from harness.core.errors import UsageError
from harness.files.json import to_typed

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")


def read_toml(kind: type[T], path: Path) -> T:
    """The content of ``path`` as ``kind``; unknown keys are refused (``to_typed``).

    Raises UsageError when it cannot be read or is no TOML.
    """
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is no TOML: {error}") from error
    return to_typed(kind, plain, where=str(path))
