"""The embedded model: ``harness eval`` as the README begins with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.zoo.checkpoints import EMBEDDED
from tests.end_to_end.conftest import Answer
from tests.golden.cases import read_golden

#: Detectron2 and the native engine on the same weights and images, in AP.
EQUAL_AP = 0.001


def test_the_default_run_reproduces_its_ap(
    harness: Callable[..., Answer], project: Path, embedded_root: Path
) -> None:
    answer = harness("eval", "--root", embedded_root, "--output", "run")
    assert answer.code == 0, answer.err
    assert "REPRODUCED: box AP" in answer.out
    record = json.loads((project / "run" / "record.json").read_text("utf-8"))
    assert record["verdict"]["outcome"] == "pass"
    golden = read_golden("tiny_eval")
    assert record["checkpoint"]["sha256"] == golden["checkpoint"]
    assert record["checkpoint"]["pinned"]
    expected = golden["metrics"]
    for name in ("bbox/AP", "segm/AP"):
        assert record["metrics"][name] == pytest.approx(expected[name], abs=EQUAL_AP)
    for name, value in expected.items():
        # A single detection that crosses an IoU threshold moves one of these a little.
        assert record["metrics"][name] == pytest.approx(value, abs=0.1), name
    assert expected["bbox/AP"] > 60


def test_the_embedded_checkpoint_is_small() -> None:
    assert (EMBEDDED / "tiny.safetensors").stat().st_size < 4 * 10**6
