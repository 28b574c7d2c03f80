"""The option tables in the documents are those of the definitions."""

from __future__ import annotations

import runpy
from pathlib import Path


def test_the_documented_settings_are_current(repository: Path) -> None:
    written = runpy.run_path(str(repository / "scripts" / "write_configuration.py"))["page"]()
    documented = (repository / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert documented == written, "write it again: make configuration"
