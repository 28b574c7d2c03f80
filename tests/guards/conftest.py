"""The package's source, parsed once for all guards, and the list of files that grow too long."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "harness"
AIMED_LINES = 250


@pytest.fixture(scope="session")
def package() -> dict[str, ast.Module]:
    """Syntax tree by path below ``harness/``, for instance ``measure/coco.py``."""
    return {
        path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8"), str(path))
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > AIMED_LINES:
            terminalreporter.write_line(
                f"{path.relative_to(REPOSITORY)}: {lines} lines, aim for {AIMED_LINES}", yellow=True
            )
