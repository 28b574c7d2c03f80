"""The AP of an exported file is that of the checkpoint it was made from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Answer
from tests.golden.cases import read_golden

pytest.importorskip("onnxruntime", reason="needs the packages of the extra onnx")

#: Allowed between the exported file and Detectron2's AP with the same weights, in AP.
EQUAL_AP = 0.05


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory, embedded_root: Path) -> Path:
    """A copy of the embedded images, which the test may add to."""
    return Path(shutil.copytree(embedded_root, tmp_path_factory.mktemp("scenes") / "root"))


@pytest.mark.parametrize(
    ("engine", "fixture", "package"),
    [("onnx", "exported_tiny", "onnxruntime"), ("pt2", "exported_pt2", "torch")],
)
@pytest.mark.slow
def test_its_ap_is_reproduced(
    engine: str,
    fixture: str,
    package: str,
    harness: Callable[..., Answer],
    project: Path,
    scenes: Path,
    request: pytest.FixtureRequest,
) -> None:
    file = request.getfixturevalue(fixture)
    words = ["--engine", engine, "--weights", file, "--root", scenes]
    answer = harness("eval", *words, "--output", "run")
    assert answer.code == 0, answer.err
    assert "REPRODUCED: box AP" in answer.out
    record = json.loads((project / "run" / "record.json").read_text("utf-8"))
    assert record["engine"]["name"] == engine
    version = record["engine"]["version"].partition("+")[0]  # torch's own has its build
    assert record["environment"]["packages"][package] == version
    expected = read_golden("tiny_eval")
    for name in ("bbox/AP", "segm/AP"):
        assert record["metrics"][name] == pytest.approx(expected["metrics"][name], abs=EQUAL_AP)
    assert record["resolved"]["exported"]["checkpoint_sha256"] == expected["checkpoint"]


def test_workers_a_bench_and_a_night_take_it(
    harness: Callable[..., Answer], project: Path, scenes: Path, exported_tiny: Path
) -> None:
    default = scenes / "exported" / "tiny.onnx"
    default.parent.mkdir(exist_ok=True)
    shutil.copy(exported_tiny, default)
    words = ["--engine", "onnx", "--root", scenes, "--limit", "4"]
    alone = harness("eval", *words, "--threads", "1", "--output", "alone")
    shared = harness("eval", *words, "--workers", "2", "--output", "shared")
    assert (alone.code, shared.code) == (0, 0), alone.err + shared.err
    predictions = [project / run / "predictions.json" for run in ("alone", "shared")]
    assert predictions[0].read_bytes() == predictions[1].read_bytes()
    quick = ["--warmup", "0", "--repeats", "1", "--min-duration", "0"]
    timed = harness("bench", *words, *quick, "--json")
    assert timed.code == 0, timed.err
    assert json.loads(timed.out)["metrics"]["fps"] > 0
    matrix = project / "night.toml"
    matrix.write_text('[[block]]\nengines = ["onnx"]\nlimit = 2\nbench = false\n', "utf-8")
    night = harness("nightly", "--matrix", matrix, "--root", scenes, "--results", "results")
    assert night.code == 0, night.err
    assert "tiny-onnx-fp32-auto" in night.out


def test_a_profile_is_refused(harness: Callable[..., Answer], scenes: Path) -> None:
    answer = harness("bench", "--engine", "onnx", "--root", scenes, "--profile")
    assert answer.code == 2
    assert "the onnx engine has none" in answer.err


def test_a_model_that_was_not_exported(harness: Callable[..., Answer], tmp_path: Path) -> None:
    answer = harness("eval", "--engine", "onnx", "--root", tmp_path)
    assert answer.code == 3
    assert "run: harness export --model tiny" in answer.err
