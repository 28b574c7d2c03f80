"""The package's source, parsed once for all guards."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "harness"


@cache
def nodes_of(tree: ast.AST) -> tuple[ast.AST, ...]:
    """Every node of a tree, collected once for all guards."""
    return tuple(ast.walk(tree))


@pytest.fixture(scope="session")
def package() -> dict[str, ast.Module]:
    """Syntax tree by path below ``harness/``, for instance ``measure/coco.py``."""
    return {
        path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8"), str(path))
        for path in sorted(PACKAGE.rglob("*.py"))
    }
