"""``harness models``: the lock as a table, at once."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import api
from harness.cli.main import run
from harness.files.layout import LOCK_NAME, find_lock
from harness.zoo.listing import ListedModel


@pytest.fixture
def project(odd_tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: a project with the real lock, and nothing fetched."""
    shutil.copy(find_lock(), odd_tmp_path / LOCK_NAME)
    monkeypatch.chdir(odd_tmp_path)
    return odd_tmp_path


def rows(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, dict[str, str]]:
    """Cells by model name and column, from the Markdown tables."""
    assert run(["models", "--format", "markdown", *options]) == 0
    found: dict[str, dict[str, str]] = {}
    for table in capsys.readouterr().out.split("## ")[1:]:
        lines = [line.strip("|").split("|") for line in table.splitlines() if line[:1] == "|"]
        columns, _, *body = [[cell.strip() for cell in line] for line in lines]
        for cells in body:
            found[cells[0]] = {
                "task": table.splitlines()[0],
                **dict(zip(columns[1:], cells[1:], strict=True)),
            }
    return found


def test_every_model_with_its_published_numbers(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = rows(capsys)
    assert found["R_50_FPN_3x"] == {
        "task": "Instance segmentation",
        "schedule": "3x",
        "box AP": "41.0",
        "mask AP": "37.2",
        "V100 s/img": "0.043",
        "size": "178 MB",
        "on disk": "no",
    }
    assert found["R_101_FPN_3x"]["size"] == "?"
    assert found["faster_rcnn_R_50_FPN_3x"]["task"] == "Object detection"
    assert "mask AP" not in found["faster_rcnn_R_50_FPN_3x"]
    assert found["torchvision_maskrcnn_resnet50_fpn"]["V100 s/img"] == "–"
    assert found["MobileNetV2_FPNLite_3x"]["on disk"] == "none"
    assert found["tiny"]["on disk"] == "embedded"
    by_start = {name.removesuffix(" †"): cells for name, cells in found.items()}
    assert by_start["rpn_R_50_FPN_1x"]["AR@1000"] == "58.0"
    assert by_start["keypoint_rcnn_R_50_FPN_3x"]["keypoint AP"] == "65.5"
    assert by_start["panoptic_fpn_R_101_3x"]["PQ"] == "43.0"
    assert len(found) == 62


def test_a_size_that_is_not_known_is_explained(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    explained = "size ?: no source states it before the download"
    assert run(["models", "R_101_FPN_3x"]) == 0
    assert explained in capsys.readouterr().out.splitlines()
    assert run(["models", "MobileNetV2_FPNLite_3x"]) == 0  # has no checkpoint, so no size either
    assert explained not in capsys.readouterr().out


def test_the_command_lists_what_the_api_lists(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[tuple[str, ...], Path | None]] = []
    itself = api.list_models

    def listed(*words: str, root: Path | None = None) -> tuple[ListedModel, ...]:
        asked.append((words, root))
        return itself(*words, root=root)

    monkeypatch.setattr(api, "list_models", listed)
    found = rows(capsys, "mask", "--root", str(project))
    assert asked == [(("mask",), project)]
    names = [one.name for one in itself("mask", root=project)]
    assert sorted(found) == sorted(names)


def test_words_choose(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = [name.removesuffix(" †") for name in rows(capsys, "mask", "r_101", "3x")]
    assert found == ["mask_rcnn_R_101_C4_3x", "mask_rcnn_R_101_DC5_3x", "R_101_FPN_3x"]
    assert run(["models", "--json", "keypoints", "X_101"]) == 0
    (only,) = json.loads(capsys.readouterr().out)
    assert only["name"] == "keypoint_rcnn_X_101_32x8d_FPN_3x"
    assert run(["models", "mask", "R_102"]) == 2
    assert "no model has all of: mask R_102" in capsys.readouterr().err


def test_a_narrow_terminal_cuts_no_number(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    cells = {tuple(row.values())[2:-2] for row in rows(capsys).values()}
    assert run(["models", "--format", "rich"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    for numbers in cells:
        shown = [number for number in numbers if number != "–"]
        assert any(all(number in line.split() for number in shown) for line in lines), numbers
    assert "no room for: size, schedule (--format plain has them)" in lines


def test_a_network_that_is_not_there_yet_is_marked_and_refused(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = json.loads((project / LOCK_NAME).read_text(encoding="utf-8"))
    for entry in lock["models"]:
        if entry["name"] == "R_101_FPN_3x":
            entry["architecture"] = "mask_rcnn_R_102_FPN"
    (project / LOCK_NAME).write_text(json.dumps(lock), encoding="utf-8")
    found = rows(capsys, "R_101_FPN_3x", "mask")
    assert [name for name in found if name.startswith("R_101")] == ["R_101_FPN_3x †"]
    assert run(["models", "R_102"]) == 0
    assert "† this version cannot compute this network yet" in capsys.readouterr().out
    for command in ("eval", "bench", "predict photos"):
        assert run([*command.split(), "--model", "R_101_FPN_3x"]) == 3
        assert "cannot compute the network 'mask_rcnn_R_102_FPN' yet" in capsys.readouterr().err


def test_what_is_on_disk(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = json.loads((project / LOCK_NAME).read_text(encoding="utf-8"))
    (path,) = (one["path"] for one in lock["artefacts"] if one["name"] == "mask_rcnn_R_101_FPN_3x")
    for root in (project / "datasets", project / "elsewhere"):
        (root / path).parent.mkdir(parents=True)
        (root / path).write_bytes(bytes(2_000_000))
        options = () if root.name == "datasets" else ("--root", str(root))
        assert rows(capsys, *options)["R_101_FPN_3x"]["size"] == "2 MB"
        assert rows(capsys, *options)["R_101_FPN_3x"]["on disk"] == "yes"
        (root / path).unlink()


def test_json_is_the_lock_and_nothing_else(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "--json"]) == 0
    lock = json.loads((project / LOCK_NAME).read_text(encoding="utf-8"))
    found = json.loads(capsys.readouterr().out)
    assert {entry["name"]: entry.pop("on_disk") for entry in found}["tiny"] == "embedded"
    assert {entry["name"]: entry.pop("computable") for entry in found}["tiny"] is True
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

    Other load on the machine slows both down alike, as far as they run in turn.
    """
    pairs = [
        (
            computing_s("-c", "import argparse, dataclasses, json, subprocess"),
            computing_s("-m", "harness", "models"),
        )
        for _ in range(5)
    ]
    bare, ours = (min(one) for one in zip(*pairs, strict=True))
    assert ours / bare < 6, pairs


def computing_s(*words: str) -> float:
    """Processor time of Python with these words, in seconds."""
    begun = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime - begun.ru_utime + ended.ru_stime - begun.ru_stime
