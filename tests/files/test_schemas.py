"""The schemas in the documentation are those of the code."""

from __future__ import annotations

from pathlib import Path

from harness.files.schemas import SCHEMAS, write_schemas


def test_documented_schemas_are_current(repository: Path, tmp_path: Path) -> None:
    write_schemas(tmp_path)
    stale = [
        name
        for name in SCHEMAS
        if (repository / "docs" / "schema" / name).read_text("utf-8")
        != (tmp_path / name).read_text("utf-8")
    ]
    assert not stale, "write them again: make schema"
