"""The network in slots, without kernels: what it decides is what the eager path decides."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from harness.core.detections import Detections, Image
from harness.engines.native import NativeEngine, open_native
from harness.engines.network_outputs import Overflow
from harness.engines.slot_path import without_slots
from harness.measure.agreement import compare
from harness.measure.timing import NULL_STOPWATCH
from harness.nn.slots import Capacity, lacking_in_slots
from harness.zoo.architectures import architecture_of, tiny
from harness.zoo.lock import find_model, read_lock
from tests.conftest import Seeded
from tests.families import ALL
from tests.golden.cases import pictures
from tests.golden.families import FAMILIES, narrow
from tests.nn.plain_operators import in_slots

#: Families that a GPU computes in slots.
IN_SLOTS = (
    "mask_rcnn_X_101_32x8d_FPN",
    "mask_rcnn_R_50_FPN_LSJ",
    "scratch_mask_rcnn_R_50_FPN_SyncBN",
    "mask_rcnn_R_50_FPN_GN",
    "mask_rcnn_regnetx_4gf_LSJ",
    "mask_rcnn_regnety_4gf_LSJ",
)


@pytest.fixture(scope="module")
def engine(seeded: Seeded) -> NativeEngine:
    return open_native(architecture=tiny(), weights=seeded(tiny()), device="cpu", threads=1)


@pytest.mark.parametrize("together", [False, True])
def test_slots_hold_what_the_eager_path_finds(engine: NativeEngine, together: bool) -> None:
    images = pictures()
    images[1] = Image(image_id=2, pixels_bgr=images[1].pixels_bgr[:150, :201].copy())
    for batch in [images] if together else [[one] for one in images]:
        prepared = [engine.prepare(image, NULL_STOPWATCH) for image in batch]
        expected = engine.infer(prepared, NULL_STOPWATCH)
        for one, other in zip(in_slots(engine, batch, Capacity()), expected, strict=True):
            assert isinstance(one, Detections)
            assert one.image_id == other.image_id
            assert len(other) > 20
            np.testing.assert_array_equal(one.boxes_xyxy_px, other.boxes_xyxy_px)
            np.testing.assert_array_equal(one.scores, other.scores)
            np.testing.assert_array_equal(one.class_index, other.class_index)
            assert one.masks == other.masks


#: At every step one with GroupNorm, one with a deeper head, and one of another backbone.
QUICK = ("mask_rcnn_R_50_FPN_LSJ", "mask_rcnn_R_50_FPN_GN", "mask_rcnn_regnetx_4gf_LSJ")


@pytest.mark.parametrize(
    "name",
    [pytest.param(one, marks=() if one in QUICK else pytest.mark.slow) for one in IN_SLOTS],
)
def test_slots_hold_what_the_eager_path_finds_in_every_family(name: str, seeded: Seeded) -> None:
    network = narrow(name)
    engine = open_native(architecture=network, weights=seeded(network), device="cpu", threads=1)
    expected = engine.infer(
        [engine.prepare(image, NULL_STOPWATCH) for image in pictures()], NULL_STOPWATCH
    )
    for one, other in zip(in_slots(engine, pictures(), Capacity()), expected, strict=True):
        assert isinstance(one, Detections)
        assert len(other) >= 10
        # Rows of a product may round otherwise among other rows.
        assert compare(one, other).share_within_bars == 1.0


def test_what_is_not_computed_in_slots_has_a_reason() -> None:
    reasons = {name: lacking_in_slots(narrow(name)) for name in FAMILIES}
    assert {name for name, reason in reasons.items() if reason is None} == set(IN_SLOTS)
    assert reasons["mask_rcnn_R_50_C4"] == reasons["mask_rcnn_R_50_DC5"]
    assert reasons["mask_rcnn_R_50_C4"] == "regions of a single map"


def test_a_gpu_computes_each_family_in_slots_or_says_why() -> None:
    """At full width; what is said becomes a line of the record."""
    computed = {"FPN", "ResNeXt", "LSJ", "SyncBN", "GroupNorm", "RegNetX", "RegNetY"}
    lock = read_lock()
    for family in ALL:
        network = architecture_of(find_model(lock, family.entry).architecture)
        if family.torchvision:
            continue
        notes: list[str] = []
        assert without_slots(network, notes) == (family.title not in computed)
        assert len(notes) == (family.title not in computed)
        assert all("are not computed in slots, the eager path computes" in one for one in notes)


@pytest.mark.parametrize(
    ("capacity", "words"),
    [
        (Capacity(candidates=16), "candidates, and room for 16"),
        (Capacity(places=64), "places"),
        (Capacity(characters=64), "characters"),
    ],
)
def test_what_does_not_fit_is_told_and_never_cut_silently(
    engine: NativeEngine, capacity: Capacity, words: str
) -> None:
    (found,) = in_slots(engine, pictures()[:1], capacity)
    assert isinstance(found, Overflow)
    assert found.image_id == 1
    assert words in found.reason


def test_an_image_without_detections_has_none_in_slots(engine: NativeEngine) -> None:
    blank = Image(image_id=7, pixels_bgr=np.zeros((64, 64, 3), dtype=np.uint8))
    (expected,) = engine.infer([engine.prepare(blank, NULL_STOPWATCH)], NULL_STOPWATCH)
    (found,) = in_slots(engine, [blank], Capacity())
    assert isinstance(found, Detections)
    assert len(found) == len(expected)
    assert found.masks == expected.masks


def test_output_that_is_not_finite_is_an_error_in_slots_too(engine: NativeEngine) -> None:
    predictor = engine.network.roi_heads.box_predictor.cls_score
    kept = predictor.weight.clone()
    predictor.weight.fill_(torch.inf)
    try:
        with pytest.raises(FloatingPointError, match="not finite"):
            in_slots(engine, pictures()[:1], Capacity())
    finally:
        predictor.weight.copy_(kept)


def test_kernels_are_prepared_for_a_network_that_is_computed_in_slots() -> None:
    """In a process of its own, where nothing imported them before."""
    code = (
        "import sys; from harness.engines.slot_path import prepare_slot_path as prepare\n"
        "from harness.zoo.architectures import architecture_of, tiny\n"
        "prepare(tiny(), True)\n"
        "prepare(architecture_of('retinanet_R_50_FPN'), False)\n"
        "print('harness.nn.kernels.ahead' in sys.modules)\n"
        "prepare(tiny(), False)\n"
        "print('harness.nn.kernels.ahead' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True"], done.stderr
