"""What scripts write from the code is what they would write now."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pydantic
import pytest

from tests.family_table import PAGE, written


def _script(repository: Path, name: str) -> dict[str, Any]:
    """Everything that ``scripts/<name>.py`` defines."""
    return runpy.run_path(str(repository / "scripts" / f"{name}.py"))


def test_the_documented_settings_are_current(repository: Path) -> None:
    page = _script(repository, "write_configuration")["page"]()
    documented = (repository / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert documented == page, "write it again: make configuration"


def test_keywords_for_type_checkers_are_current(repository: Path) -> None:
    folder = repository / "harness" / "core" / "requests" / "keywords"
    present = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.py")}
    assert present == _script(repository, "write_keywords")["texts"](), "run: make schema"


def test_documented_schemas_are_current(repository: Path, tmp_path: Path) -> None:
    pinned = re.search(
        r"^pydantic==(\d+\.\d+)\.",
        (repository / "constraints.txt").read_text("utf-8"),
        re.MULTILINE,
    )
    if pinned is None or not pydantic.VERSION.startswith(f"{pinned[1]}."):
        pytest.skip("another pydantic than the pinned one words schemas in its own way")
    script = _script(repository, "write_schemas")
    script["write_schemas"](tmp_path)
    stale = [
        name
        for name in script["SCHEMAS"]
        if (repository / "docs" / "schema" / name).read_text("utf-8")
        != (tmp_path / name).read_text("utf-8")
    ]
    assert not stale, "write them again: make schema"


def test_the_table_of_families_is_current() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == written(page), "run: python -m tests.family_table"
