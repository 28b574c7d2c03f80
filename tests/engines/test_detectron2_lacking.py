"""A Detectron2 that is there, and cannot be imported, is a prerequisite and no bug."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.core.errors import PrerequisiteError
from harness.engines.detectron2 import MODULES, require_detectron2


@pytest.mark.parametrize(
    ("content", "complaint", "hint"),
    [
        (
            "import a_package_that_is_not_there.part",
            r"detectron2\.modeling cannot be imported \(No module named 'a_package",
            "install the package it lacks: a_package_that_is_not_there,",
        ),
        ("from math import not_there", "cannot import name 'not_there'", "install it again,"),
        ("import detectron2.not_there", "No module named 'detectron2.not_", "install it again,"),
    ],
)
def test_what_it_lacks_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str, complaint: str, hint: str
) -> None:
    package = tmp_path / "detectron2"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "modeling.py").write_text(content, encoding="utf-8")
    for name in [one for one in sys.modules if one.partition(".")[0] == "detectron2"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        require_detectron2()
        with pytest.raises(PrerequisiteError, match=complaint) as caught:
            require_detectron2(*MODULES)
    finally:
        # Not by monkeypatch, which would bring them back for the tests that follow.
        for name in [one for one in sys.modules if one.partition(".")[0] == "detectron2"]:
            del sys.modules[name]

    assert hint in (caught.value.hint or "")
