"""The stage-by-stage comparison finds agreement, and finds where it ends."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cli.main import run
from harness.engines.parity.comparison import _difference, _final_rows, _proposal_difference
from harness.measure.agreement import Agreement
from harness.zoo.architectures import tiny
from harness.zoo.checkpoints import EMBEDDED
from tests.golden.cases import pictures


def test_a_stage_leaves_its_tolerance_at_one_in_ten_thousand() -> None:
    expected = np.linspace(-2, 2, 100, dtype=np.float32)
    near = expected + np.float32(1.9e-4)  # of a largest magnitude of 2
    far = expected + np.float32(2.1e-4)
    assert _difference("box logits", near, expected).ok
    difference = _difference("box logits", far, expected)
    assert not difference.ok
    assert difference.max_relative == pytest.approx(1.05e-4, rel=1e-3)


def test_pixels_must_be_equal() -> None:
    pixels = np.zeros((3, 4, 4), dtype=np.float32)
    assert _difference("resized input", pixels, pixels).ok
    assert not _difference("resized input", pixels + np.float32(1e-3), pixels + 1).ok


def test_another_shape_is_no_parity() -> None:
    wide, narrow = np.zeros((3, 5), np.float32), np.zeros((3, 4), np.float32)
    assert not _difference("backbone p2", wide, narrow).ok


def test_proposals_are_compared_as_a_set() -> None:
    boxes = np.arange(800, dtype=np.float32).reshape(200, 4) * 10
    swapped = boxes[::-1].copy()
    assert _proposal_difference(swapped, boxes).ok
    moved = boxes.copy()
    moved[:3] += 1  # 1.5 % of them
    difference = _proposal_difference(moved, boxes)
    assert not difference.ok
    assert difference.share == pytest.approx(0.985)
    assert not _proposal_difference(boxes[:-1], boxes).ok


@pytest.mark.parametrize(
    ("off", "stage"),
    [
        ({"unmatched": 3}, "final boxes, scores, classes"),
        ({"masks_below": 3}, "pasted masks"),
        ({"keypoints_below": 3, "max_keypoint_px": 2.0}, "keypoints"),
        ({"max_keypoint_px": 1e-4}, None),
    ],
)
def test_what_is_off_in_the_detections_is_named(off: dict[str, Any], stage: str | None) -> None:
    same = {"unmatched": 0, "masks_below": 0, "reordered": 0, "mask_off_px": 0}
    sure = {"max_box_px": 0.0, "max_score": 0.0, "min_mask_iou": 1.0}
    agreement = Agreement(**{"detections": 100, **same, **sure, **off})
    failing = [row.stage for row in _final_rows(agreement, 0) if not row.ok]
    assert failing[:1] == ([] if stage is None else [stage])


@pytest.mark.filterwarnings("ignore")
def test_both_engines_agree_on_the_embedded_model_and_a_change_is_found() -> None:
    pytest.importorskip("detectron2", reason="Detectron2 is not installed")
    from harness.engines.detectron2 import open_detectron2
    from harness.engines.native import open_native
    from harness.engines.parity.comparison import compare_engines
    from harness.engines.stages import detectron2_stages

    weights = EMBEDDED / "tiny.safetensors"
    native = open_native(architecture=tiny(), weights=weights, device="cpu", threads=1)
    reference = open_detectron2(architecture=tiny(), weights=weights, device="cpu", threads=1)
    stages = partial(detectron2_stages, reference)
    report = compare_engines(native, reference, pictures(), reference_stages=stages)
    assert report.first_failing is None
    assert report.agreement.min_mask_iou > 0.999
    assert report.agreement.unmatched == 0
    assert report.agreement.detections > 5
    bias = native.network.backbone.get_submodule("fpn_output3").bias
    bias.data[0] += 0.01  # type: ignore[operator, index, union-attr]
    report = compare_engines(native, reference, pictures(), reference_stages=stages)
    assert report.first_failing == "backbone p3"


def test_the_command_needs_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["parity", "--model", "tiny", "--images", str(tmp_path)])
    told = capsys.readouterr().err
    if "needs the detectron2 package" in told:
        assert code == 3
    else:
        assert code == 2
        assert "no image in" in told


def test_the_fast_proof_needs_no_detectron2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    Image.fromarray(pictures()[0].pixels_bgr[:, :, ::-1]).save(tmp_path / "1.png")
    words = ["--model", "tiny", "--images", str(tmp_path), "--device", "cpu", "--threads", "1"]
    assert run(["parity", *words, "--against", "float64", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["exact"] is None
    assert found["fast"]["ok"] is True
    assert found["fast"]["unexplained"] == 0
    assert found["fast"]["detections"] > 5
    assert {row["stage"] for row in found["fast"]["stages"]} >= {"p2", "rpn logits", "box deltas"}
    assert run(["parity", *words, "--against", "float64", "--exact-only"]) == 2
    assert "--exact-only compares with Detectron2" in capsys.readouterr().err
