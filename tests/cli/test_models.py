"""``harness models``: the lock as a table, at once."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli.main import run
from harness.cli.models import COLUMNS
from harness.files.layout import LOCK_NAME, find_lock


@pytest.fixture
def project(odd_tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: a project with the real lock, and nothing fetched."""
    shutil.copy(find_lock(), odd_tmp_path / LOCK_NAME)
    monkeypatch.chdir(odd_tmp_path)
    return odd_tmp_path


def rows(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, list[str]]:
    """Cells by model name, from the Markdown table."""
    assert run(["models", "--format", "markdown", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert tuple(table[0]) == COLUMNS
    return {name: cells for name, *cells in table[2:]}


def test_every_model_with_its_published_numbers(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = rows(capsys)
    assert found["R_50_FPN_3x"] == ["3x", "41.0", "37.2", "0.043", "178 MB", "no"]
    assert found["R_101_FPN_3x"] == ["3x", "42.9", "38.6", "0.056", "?", "no"]
    assert found["faster_rcnn_R_50_FPN_3x"][1:3] == ["40.2", "–"]
    assert found["torchvision_maskrcnn_resnet50_fpn"] == ["–", "37.9", "34.6", "–", "?", "no"]
    assert found["MobileNetV2_FPNLite_3x"] == ["3x", "–", "–", "–", "–", "none"]
    assert found["tiny"][-1] == "embedded"
    assert len(found) == 10


def test_what_is_on_disk(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = json.loads((project / LOCK_NAME).read_text(encoding="utf-8"))
    (path,) = (one["path"] for one in lock["artefacts"] if one["name"] == "mask_rcnn_R_101_FPN_3x")
    for root in (project / "datasets", project / "elsewhere"):
        (root / path).parent.mkdir(parents=True)
        (root / path).write_bytes(bytes(2_000_000))
        options = () if root.name == "datasets" else ("--root", str(root))
        assert rows(capsys, *options)["R_101_FPN_3x"][-2:] == ["2 MB", "yes"]
        (root / path).unlink()


def test_json_is_the_lock_and_nothing_else(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "--json"]) == 0
    lock = json.loads((project / LOCK_NAME).read_text(encoding="utf-8"))
    found = json.loads(capsys.readouterr().out)
    assert {entry["name"]: entry.pop("on_disk") for entry in found}["tiny"] == "embedded"
    assert found == lock["models"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [("{", "is not JSON"), ("[]", "does not fit its schema"), ("{}", "models: Field required")],
)
def test_a_lock_that_cannot_be_shown_is_an_error(
    project: Path, capsys: pytest.CaptureFixture[str], content: str, complaint: str
) -> None:
    (project / LOCK_NAME).write_text(content, encoding="utf-8")
    assert run(["models"]) == 4
    assert complaint in capsys.readouterr().err


def test_it_answers_at_once(project: Path) -> None:
    """Under 0.3 s where Python needs 0.05 s to start; counted in computing, not on the clock.

    Other load on the machine slows both down alike.
    """
    bare = min(computing_s("-c", "import argparse, dataclasses, json, subprocess") for _ in "123")
    ours = min(computing_s("-m", "harness", "models") for _ in "123")
    assert ours / bare < 6, (ours, bare)


def computing_s(*words: str) -> float:
    """Processor time of Python with these words, in seconds."""
    begun = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime - begun.ru_utime + ended.ru_stime - begun.ru_stime
