"""The schemas in the documentation are those of the code."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pydantic
import pytest


def test_documented_schemas_are_current(repository: Path, tmp_path: Path) -> None:
    pinned = re.search(
        r"^pydantic==(\d+\.\d+)\.",
        (repository / "constraints.txt").read_text("utf-8"),
        re.MULTILINE,
    )
    if pinned is None or not pydantic.VERSION.startswith(f"{pinned[1]}."):
        pytest.skip("another pydantic than the pinned one words schemas in its own way")
    written = runpy.run_path(str(repository / "scripts" / "write_schemas.py"))
    written["write_schemas"](tmp_path)
    stale = [
        name
        for name in written["SCHEMAS"]
        if (repository / "docs" / "schema" / name).read_text("utf-8")
        != (tmp_path / name).read_text("utf-8")
    ]
    assert not stale, "write them again: make schema"
