"""Every program in ``examples/`` runs, and shows what its text promises."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., str]


@pytest.fixture
def example(
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Run an example with arguments in an empty folder; what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "datasets"))

    def run(name: str, *words: object) -> str:
        path = str(repository / "examples" / name)
        monkeypatch.setattr(sys, "argv", [path, *map(str, words)])
        runpy.run_path(path, run_name="__main__")
        return capsys.readouterr().out

    return run


def test_every_example_is_here(repository: Path) -> None:
    names = {path.name for path in (repository / "examples").iterdir() if path.is_file()}
    assert names == {
        "compare_two_runs.py",
        "evaluate_and_read_the_verdict.py",
        "fine_tune_on_own_data.py",
        "predict_and_draw.py",
        "tour.ipynb",
    }


def test_evaluate_and_read_the_verdict(example: Run, small_coco: Path) -> None:
    words = ["--annotations", small_coco / "annotations.json", "--images", small_coco / "images"]
    printed = example("evaluate_and_read_the_verdict.py", *words, "--output", "run")
    assert "bbox/AP: " in printed
    assert "NO REFERENCE" in printed or "NOT COMPARABLE" in printed
    assert "hardest: " in printed


def test_predict_and_draw(example: Run, small_coco: Path, tmp_path: Path) -> None:
    words = ["--threshold", "0.1", "--output", "drawn"]
    printed = example("predict_and_draw.py", small_coco / "images", *words)
    assert "objects" in printed
    assert len(list((tmp_path / "drawn").glob("*.png"))) == 6
    assert isinstance(json.loads((tmp_path / "drawn/results.json").read_text("utf-8")), list)


def test_fine_tune_on_own_data(example: Run, small_coco: Path, tmp_path: Path) -> None:
    pair = [small_coco / "annotations.json", small_coco / "images"]
    words = ["--iterations", "2", "--short-edge", "64", "--output", "t"]
    printed = example("fine_tune_on_own_data.py", *pair, *pair, *words)
    assert "weights and curves in t" in printed
    assert "knows" in printed
    assert (tmp_path / "t" / "model_last.safetensors").is_file()


def test_compare_two_runs(example: Run, small_coco: Path) -> None:
    words = ["--annotations", small_coco / "annotations.json", "--images", small_coco / "images"]
    printed = example("compare_two_runs.py", *words, "--short-edge", "64")
    assert "short_edge_px: None → 64" in printed


def test_the_notebook(
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    embedded_root: Path,
) -> None:
    """Its cells in order, in one namespace; it is plain nbformat 4 without stored outputs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(embedded_root))
    monkeypatch.setenv("HARNESS_ROOT", str(tmp_path))
    notebook = json.loads((repository / "examples" / "tour.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for cell in notebook["cells"]:
        assert isinstance(cell["id"], str)
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec(compile("".join(cell["source"]), "tour.ipynb", "exec"), namespace)
    printed = capsys.readouterr().out
    assert "synthetic_val 64 images" in printed
    assert "did you mean R_50_FPN_3x" in printed
