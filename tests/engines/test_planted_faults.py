"""Faults of a fast engine that change no stage much: the proof finds each of them.

A fault is planted in the fast engine only; the reference and float64 stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import harness.engines.network_outputs as outputs
import harness.nn.masks as pasting
import harness.nn.roi_heads as heads
from harness.core.architecture import Architecture
from harness.core.detections import Image
from harness.engines.native import NativeEngine, open_native
from harness.engines.parity.rounding import FastProof, float64_network, prove_fast
from harness.nn.rcnn import RCNN
from harness.zoo.architectures import tiny
from tests.conftest import Seeded
from tests.golden.cases import pictures

Proof = Callable[[NativeEngine], FastProof]


class Kind:
    """A network, its weights, and how an engine of it is proven."""

    def __init__(self, architecture: Architecture, weights: Path, images: Sequence[Image]) -> None:
        self.architecture = architecture
        self.weights = weights
        self.images = images
        self.reference = self.opened(exact=True)
        self.truth: RCNN = float64_network(architecture, weights, torch.device("cpu"))

    def opened(self, *, exact: bool = False) -> NativeEngine:
        return open_native(
            architecture=self.architecture,
            weights=self.weights,
            device="cpu",
            threads=1,
            exact=exact,
        )

    def prove(self, engine: NativeEngine) -> FastProof:
        return prove_fast(engine, self.reference, self.truth, self.images)


@pytest.fixture(scope="module")
def masks(seeded: Seeded) -> Kind:
    return Kind(tiny(), seeded(tiny()), pictures()[:1])


@pytest.fixture(scope="module")
def points(seeded: Seeded) -> Kind:
    network = replace(
        tiny(),
        has_masks=False,
        class_count=1,
        keypoint_count=5,
        keypoint_conv_channels=(32, 32),
    )
    return Kind(network, seeded(network), pictures()[:1])


def unexplained(proof: FastProof) -> set[str]:
    """What kinds of differences have no decision."""
    found = {one.what for one in proof.differences if one.decision is None}
    assert proof.ok == (not found and all(stage.ok for stage in proof.stages))
    return found


def test_without_a_fault_nothing_is_unexplained(masks: Kind, points: Kind) -> None:
    for kind in (masks, points):
        proof = kind.prove(kind.opened())
        assert proof.ok
        assert proof.detections >= 20
        assert unexplained(proof) == set()


def other_limits(engine: NativeEngine, **numbers: float) -> None:
    """Give every part of the network another number of the architecture."""
    changed = replace(engine.network.architecture, **numbers)  # type: ignore[arg-type]
    for module in engine.network.modules():
        if hasattr(module, "architecture"):
            module.architecture = changed


def proposals(engine: NativeEngine, **numbers: float) -> None:
    for name, value in numbers.items():
        setattr(engine.network.proposal_generator, name, value)


#: Each changes only what is chosen, no number of the network.
CHOICES: dict[str, tuple[Callable[[NativeEngine], None], str]] = {
    "boxes suppressed less": (lambda one: other_limits(one, box_nms_iou=0.52), "only ours"),
    "boxes suppressed more": (
        lambda one: other_limits(one, box_nms_iou=0.48),
        "only the reference",
    ),
    "one detection too few": (lambda one: other_limits(one, max_detections=99), "only"),
    "proposals suppressed less": (lambda one: proposals(one, nms_iou=0.72), "proposal"),
    "proposals suppressed more": (lambda one: proposals(one, nms_iou=0.68), "proposal"),
    "one proposal too few": (lambda one: proposals(one, post_nms=299), "proposal"),
}


@pytest.mark.parametrize("fault", CHOICES)
def test_another_choice_has_no_decision(fault: str, masks: Kind) -> None:
    engine = masks.opened()
    plant, what = CHOICES[fault]
    plant(engine)
    proof = masks.prove(engine)
    assert all(stage.ok for stage in proof.stages)
    assert any(one.startswith(what) for one in unexplained(proof)), proof.explained


def pasted_off(pixels: float) -> Callable[[Any], Any]:
    return lambda made: lambda soft, boxes, ys, xs: made(soft, boxes, ys + pixels, xs)


#: What an engine makes of the network's numbers: module, name, and the faulty function.
ANSWERS: dict[str, tuple[Any, str, Callable[[Any], Any]]] = {
    "pasted half a pixel off": (pasting, "sampled", pasted_off(0.5)),
    "pasted a hundredth of a pixel off": (pasting, "sampled", pasted_off(0.01)),
    "upside down": (
        outputs,
        "encode_region",
        lambda made: lambda region, **more: made(region[::-1], **more),
    ),
    "a column to the left": (
        outputs,
        "encode_region",
        lambda made: (
            lambda region, **more: made(region, **{**more, "left_px": max(0, more["left_px"] - 1)})
        ),
    ),
}


@pytest.mark.parametrize("fault", ANSWERS)
def test_masks_that_are_not_those_of_the_numbers_are_seen(
    fault: str, masks: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name, plant = ANSWERS[fault]
    monkeypatch.setattr(module, name, plant(getattr(module, name)))
    assert unexplained(masks.prove(masks.opened())) == {"not as replayed"}


def test_another_threshold_of_masks_is_seen(masks: Kind) -> None:
    engine = masks.opened()
    other = replace(masks.architecture, mask_threshold=0.51)
    engine.info = replace(engine.info, architecture=other)
    assert unexplained(masks.prove(engine)) == {"not as replayed"}


@pytest.mark.parametrize("off", [(0.5, 0.0, 1.0), (0.0, 0.5, 1.0), (0.0, 0.0, 0.9)], ids=str)
def test_keypoints_elsewhere_or_of_another_score_are_seen(
    off: tuple[float, float, float], points: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = heads.located
    x, y, share = off

    def wrong(*given: Any) -> torch.Tensor:
        return made(*given) * torch.tensor([1, 1, share]) + torch.tensor([x, y, 0])

    monkeypatch.setattr(heads, "located", wrong)
    assert unexplained(points.prove(points.opened())) == {"not as replayed"}


def test_rounded_boxes_are_seen(masks: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    import harness.engines.native as native

    made = native.encode

    def rounded(*given: Any) -> Any:
        found = made(*given)
        return replace(found, boxes_xyxy_px=np.round(found.boxes_xyxy_px))

    monkeypatch.setattr(native, "encode", rounded)
    assert unexplained(masks.prove(masks.opened())) == {"not as replayed"}
