"""What benchmarks and scripts import of the project is there: quick tests run few of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

SCRIPTS = sorted(
    path for folder in ("benchmarks", "scripts") for path in (REPOSITORY / folder).glob("*.py")
)

PROJECT = ("harness", "benchmarks", "scripts")


def imported(path: Path) -> Iterator[tuple[str, str]]:
    """Modules of the project and the names taken from them, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        if isinstance(node, ast.ImportFrom) and module.partition(".")[0] in PROJECT:
            yield from ((module, one.name) for one in node.names)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_what_a_script_imports_is_there(path: Path) -> None:
    for module, name in imported(path):
        found = import_module(module)
        if not hasattr(found, name):
            import_module(f"{module}.{name}")


def test_scripts_are_looked_at() -> None:
    assert len(SCRIPTS) > 10
    assert any(("harness.training.setup", "place") in imported(path) for path in SCRIPTS)
