"""The keypoint head, and where its heat is highest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.architecture import Architecture
from harness.engines.native import NativeEngine, open_native
from harness.engines.parity.bits import prove_exact
from harness.engines.parity.rounding import FastProof, float64_network, prove_fast
from harness.measure.agreement import compare
from harness.measure.timing import NULL_STOPWATCH
from harness.nn.heads import located
from harness.zoo.architectures import tiny
from harness.zoo.seeded import amplifying_checkpoint, seeded_checkpoint
from harness.zoo.weights import write_checkpoint
from tests.conftest import Seeded
from tests.golden.cases import pictures

CPU = torch.device("cpu")


def tiny_keypoints() -> Architecture:
    """The embedded network with a small keypoint head instead of masks."""
    return replace(
        tiny(), has_masks=False, class_count=1, keypoint_count=5, keypoint_conv_channels=(32, 32)
    )


@pytest.fixture(scope="module")
def weights(seeded: Seeded) -> Path:
    return seeded(tiny_keypoints())


def opened(weights: Path, *, exact: bool = False) -> NativeEngine:
    return open_native(
        architecture=tiny_keypoints(), weights=weights, device="cpu", threads=1, exact=exact
    )


@settings(max_examples=40, deadline=None)
@given(
    width=st.floats(0.2, 90),
    height=st.floats(0.2, 90),
    x=st.floats(-5, 200),
    y=st.floats(-5, 200),
    column=st.integers(0, 55),
    row=st.integers(0, 55),
)
def test_a_peak_is_found_where_it_was_put(
    width: float, height: float, x: float, y: float, column: int, row: int
) -> None:
    """A keypoint in the middle of a cell comes back within a cell, or a pixel of a small box."""
    ys, xs = torch.meshgrid(torch.arange(56.0), torch.arange(56.0), indexing="ij")
    heat = -((xs - column) ** 2 + (ys - row) ** 2)[None, None] / 8
    box = torch.tensor([[x, y, x + width, y + height]])
    found = located(heat, box)[0, 0]
    for value, start, side, cell in ((found[0], x, width, column), (found[1], y, height, row)):
        longer = max(side, 1.0)
        wanted = start + (cell + 0.5) * longer / 56
        assert abs(float(value) - wanted) <= max(1.0, longer / 56) + 1e-3
    assert float(found[2]) >= 0


def test_the_place_and_score_are_those_of_the_reference() -> None:
    keypoints = pytest.importorskip("detectron2.structures.keypoints")
    random = torch.Generator().manual_seed(3)
    heat = torch.randn((20, 5, 56, 56), generator=random) * 3
    corners = torch.rand((20, 2), generator=random) * 300
    boxes = torch.cat((corners, corners + torch.rand((20, 2), generator=random) * 120), dim=1)
    expected = keypoints.heatmaps_to_keypoints(heat, boxes)[:, :, [0, 1, 3]]
    assert torch.equal(located(heat, boxes), expected)


def test_keypoints_follow_their_detections(weights: Path) -> None:
    engine = opened(weights)
    for picture in pictures():
        (found,) = engine.infer([engine.prepare(picture, NULL_STOPWATCH)], NULL_STOPWATCH)
        assert len(found) > 20
        assert found.keypoints is not None
        assert found.keypoints.shape == (len(found), 5, 3)
        low, high = found.boxes_xyxy_px[:, None, :2], found.boxes_xyxy_px[:, None, 2:]
        assert (found.keypoints[..., :2] >= low - 2).all()
        assert (found.keypoints[..., :2] <= high + 2).all()
        best = found.above(float(found.scores[3]))
        assert best.keypoints is not None
        np.testing.assert_array_equal(best.keypoints, found.keypoints[: len(best)])


def test_one_image_alone_and_in_a_batch_have_the_same_keypoints(weights: Path) -> None:
    engine = opened(weights)
    prepared = [engine.prepare(picture, NULL_STOPWATCH) for picture in pictures()]
    for alone, together in zip(
        [engine.infer([one], NULL_STOPWATCH)[0] for one in prepared],
        engine.infer(prepared, NULL_STOPWATCH),
        strict=True,
    ):
        agreement = compare(together, alone)
        # Padding to a common size moves last digits, and with them who survives NMS.
        assert agreement.detections - agreement.unmatched > 20
        assert agreement.keypoints_below <= 2


def proven(fast: NativeEngine, weights: Path) -> FastProof:
    truth = float64_network(tiny_keypoints(), weights, CPU)
    return prove_fast(fast, opened(weights, exact=True), truth, pictures()[:1])


def test_the_fast_path_differs_by_rounding_only(weights: Path) -> None:
    proof = proven(opened(weights), weights)
    assert proof.ok, (proof.stages, proof.differences)
    assert proof.detections > 20
    (stage,) = (stage for stage in proof.stages if stage.stage == "keypoint heat")
    assert 0 < stage.reference < 1e-4


@pytest.mark.slow
def test_weights_that_amplify_rounding_are_held_to_their_own_rounding(tmp_path: Path) -> None:
    path = tmp_path / "amplifying.safetensors"
    write_checkpoint(path, amplifying_checkpoint(tiny_keypoints(), gain=100.0))
    proof = proven(opened(path), path)
    assert proof.ok, (proof.stages, proof.differences)


def test_a_head_that_is_off_is_no_rounding(weights: Path) -> None:
    engine = opened(weights)
    engine.network.roi_heads.keypoint_head.score_lowres.weight.mul_(1.001)
    proof = proven(engine, weights)
    assert not proof.ok
    assert [stage.stage for stage in proof.stages if not stage.ok] == ["keypoint heat"]
    engine = opened(weights)
    with torch.no_grad():
        engine.network.roi_heads.keypoint_head.score_lowres.weight.mul_(-1)
    assert proven(engine, weights).unexplained > 0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("checkpoint", [seeded_checkpoint, amplifying_checkpoint])
def test_exact_has_the_bits_of_detectron2(checkpoint: object, tmp_path: Path) -> None:
    pytest.importorskip("detectron2", reason="Detectron2 is not installed")
    from harness.engines.detectron2 import open_detectron2

    path = tmp_path / "weights.safetensors"
    write_checkpoint(path, checkpoint(tiny_keypoints()))  # type: ignore[operator]
    reference = open_detectron2(
        architecture=tiny_keypoints(), weights=path, device="cpu", threads=1
    )
    proof = prove_exact(opened(path, exact=True), reference, pictures())
    assert proof.ok, proof.first_difference
    assert proof.equal == proof.detections > 0
