"""The native engine against numbers recorded from Detectron2 (tests/golden)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.core.detections import Image
from harness.core.errors import IntegrityError, RunFailedError
from harness.engines.native import NativeEngine, load_network, open_native
from harness.engines.stages import native_stages
from harness.measure.agreement import BOX_BAR_PX, compare
from harness.measure.timing import NULL_STOPWATCH
from harness.zoo.architectures import tiny
from harness.zoo.seeded import seeded_checkpoint
from harness.zoo.weights import write_checkpoint
from tests.conftest import Seeded
from tests.golden.cases import NETWORKS, detections_of, kept_values, network, pictures, read_golden

#: One of them is enough at every step, stage by stage: it has all parts. What its detections are is
#: compared for narrow networks (``test_families``).
AT_EVERY_STEP = "mask_rcnn_R_50_FPN"


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=() if name == AT_EVERY_STEP else pytest.mark.slow)
        for name in NETWORKS
    ],
)
def case(
    request: pytest.FixtureRequest, seeded: Seeded
) -> tuple[NativeEngine, list[dict[str, Any]]]:
    """The native engine with seeded weights, and what Detectron2 said about each picture."""
    architecture = network(request.param)
    weights = seeded(architecture)
    engine = open_native(architecture=architecture, weights=weights, device="cpu", threads=1)
    return engine, read_golden(request.param)["images"]


def test_every_stage_equals_detectron2(case: tuple[NativeEngine, list[dict[str, Any]]]) -> None:
    engine, recorded = case
    for picture, expected in zip(pictures(), recorded, strict=True):
        proposals = torch.tensor(expected["proposals"])
        prepared = engine.prepare(picture, NULL_STOPWATCH)
        found = native_stages(engine, prepared, proposals)
        assert found.keys() == expected["stages"].keys()
        # The box head was recorded for all proposals, of which only the first are recorded.
        of_regions = ("proposals", "box logits", "box deltas") if len(proposals) else ()
        for stage in expected["stages"].keys() - of_regions:
            _require_close(stage, found[stage], expected["stages"][stage])
        if not of_regions:
            continue
        own = torch.from_numpy(found["proposals"][: len(proposals)])
        assert float((own - proposals).abs().max()) < BOX_BAR_PX


def test_stages_are_computed_in_the_precision_of_their_engine(
    case: tuple[NativeEngine, list[dict[str, Any]]],
) -> None:
    engine, recorded = case
    prepared = engine.prepare(next(iter(pictures())), NULL_STOPWATCH)
    proposals = torch.tensor(recorded[0]["proposals"])
    switches = (torch.backends.cuda.matmul, torch.backends.cudnn)
    try:
        # As an engine leaves it that was opened for TF32 since: only a GPU computes in it.
        for one in switches:
            one.allow_tf32 = True
        native_stages(engine, prepared, proposals)
        assert [one.allow_tf32 for one in switches] == [False, False]
    finally:
        for one in switches:
            one.allow_tf32 = False


@pytest.mark.slow
def test_detections_and_masks_equal_detectron2(
    case: tuple[NativeEngine, list[dict[str, Any]]],
) -> None:
    engine, recorded = case
    for picture, golden in zip(pictures(), recorded, strict=True):
        expected = detections_of(golden["detections"], picture)
        numbers = engine.info.architecture
        least = min(50, numbers.max_detections)
        assert len(expected) >= least, "too few detections to prove anything"
        assert len(set(expected.class_index.tolist())) >= min(10, numbers.class_count)
        prepared = engine.prepare(picture, NULL_STOPWATCH)
        agreement = compare(engine.infer([prepared], NULL_STOPWATCH)[0], expected)
        assert agreement.unmatched == 0, agreement
        # One pixel has a probability of 0.5 to seven digits. Detectron2 disagrees with itself about
        # such a one: with one CPU thread it differs by it from these numbers, recorded with two.
        assert agreement.mask_off_px <= 1, agreement
        assert agreement.keypoints_below == 0, agreement


def _require_close(stage: str, found: np.ndarray, expected: list[float]) -> None:
    values = kept_values(found)
    largest = max(map(abs, expected))
    assert np.abs(values - expected).max() <= 1e-4 * largest, stage


@pytest.fixture(scope="module")
def tiny_weights(seeded: Seeded) -> Path:
    return seeded(tiny())


def test_a_batch_of_one_size_gives_what_single_images_give(tiny_weights: Path) -> None:
    engine = open_native(architecture=tiny(), weights=tiny_weights, device="cpu", threads=1)
    # Images of several sizes are padded to the largest, which moves what lies at their borders.
    cut = [
        Image(image_id=one.image_id, pixels_bgr=one.pixels_bgr[:224, :224].copy())
        for one in pictures()
    ]
    prepared = [engine.prepare(picture, NULL_STOPWATCH) for picture in cut]
    together = engine.infer(prepared, NULL_STOPWATCH)
    for one, found in zip(prepared, together, strict=True):
        alone = engine.infer([one], NULL_STOPWATCH)[0]
        assert found.image_id == alone.image_id
        assert len(alone) > 20
        assert compare(found, alone).share_within_bars == 1.0


def test_output_that_is_not_finite_is_an_error_and_no_empty_image(tmp_path: Path) -> None:
    tensors = seeded_checkpoint(tiny())
    key = "roi_heads.box_predictor.cls_score.weight"
    tensors[key] = np.full_like(tensors[key], 3e38)  # finite, overflows in the product
    write_checkpoint(tmp_path / "bad.safetensors", tensors)
    weights = tmp_path / "bad.safetensors"
    engine = open_native(architecture=tiny(), weights=weights, device="cpu", threads=1)
    prepared = engine.prepare(pictures()[0], NULL_STOPWATCH)
    with pytest.raises(RunFailedError, match=r"image 1: .*not finite"):
        engine.infer([prepared], NULL_STOPWATCH)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    tensors = seeded_checkpoint(tiny())
    del tensors["backbone.fpn_output2.bias"]
    write_checkpoint(tmp_path / "short.safetensors", tensors)
    with pytest.raises(IntegrityError, match=r"backbone\.fpn_output2\.bias"):
        load_network(tiny(), tmp_path / "short.safetensors")


def test_a_prefix_that_was_left_out_is_a_note_of_the_engine(tmp_path: Path) -> None:
    tensors = {f"module.{key}": value for key, value in seeded_checkpoint(tiny()).items()}
    write_checkpoint(tmp_path / "wrapped.safetensors", tensors)
    engine = open_native(
        architecture=tiny(), weights=tmp_path / "wrapped.safetensors", device="cpu", threads=1
    )
    assert [note for note in engine.notes if "'module.' left out" in note]


def test_channel_order_reaches_the_network(tiny_weights: Path) -> None:
    from dataclasses import replace

    picture = Image(
        image_id=1, pixels_bgr=np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
    )
    engines = [
        open_native(
            architecture=replace(tiny(), channel_order=order),
            weights=tiny_weights,
            device="cpu",
            threads=1,
        )
        for order in ("BGR", "RGB")
    ]
    bgr, rgb = (engine.prepare(picture, NULL_STOPWATCH).pixels for engine in engines)
    np.testing.assert_array_equal(bgr[:, :, ::-1], rgb)
