"""Every family of the zoo: the bits of Detectron2, live, or as recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from _pytest.mark import ParameterSet

from harness.core.architecture import Architecture
from harness.engines.native import NativeEngine, open_native
from harness.engines.parity.rounding import float64_network, prove_fast
from harness.measure.agreement import compare
from harness.measure.timing import NULL_STOPWATCH
from harness.workflows.parity import case_of
from tests.conftest import Seeded
from tests.golden.cases import classes_of_pixels, detections_of, pictures_for, read_golden
from tests.golden.families import FAMILIES, narrow

#: Of these one of each kind of neck and head is enough at every step in bf16.
QUICK_IN_BF16 = (
    "mask_rcnn_X_101_32x8d_FPN",
    "mask_rcnn_R_50_FPN_GN",
    "cascade_mask_rcnn_R_50_FPN",
    "mask_rcnn_regnetx_4gf_LSJ",
    "panoptic_fpn_R_50",
    "rpn_R_50_C4",
)


#: Every part of these is in another family too: at every step that one is enough.
AS_OTHERS = ("faster_rcnn_R_50_C4", "panoptic_fpn_R_101_dconv_cascade_gn")

#: In Detectron2's own arithmetic; in the default one the others are compared at every step.
AS_OTHERS_IN_EXACT = (
    *(*AS_OTHERS, "mask_rcnn_R_50_DC5"),
    "cascade_mask_rcnn_X_152_32x8d_FPN_IN5k_gn_dconv",
)


def recorded() -> list[ParameterSet]:
    """Name and arithmetic of all that was recorded."""
    return [
        pytest.param(
            name,
            exact,
            id=f"{name}-{'exact' if exact else 'fast'}",
            marks=pytest.mark.slow if name in (AS_OTHERS_IN_EXACT if exact else AS_OTHERS) else (),
        )
        for name in FAMILIES
        for exact in (True, False)
    ]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, seeded: Seeded) -> tuple[str, Architecture, Path]:
    return named_family(request.param, seeded)


def named_family(name: str, seeded: Seeded) -> tuple[str, Architecture, Path]:
    """A family's name, its narrow network, and seeded weights of it."""
    architecture = narrow(name)
    return name, architecture, seeded(architecture)


def opened(architecture: Architecture, weights: Path, *, exact: bool) -> NativeEngine:
    return open_native(
        architecture=architecture, weights=weights, device="cpu", threads=1, exact=exact
    )


@pytest.mark.parametrize(("name", "exact"), recorded())
def test_it_gives_what_was_recorded_from_detectron2(name: str, exact: bool, seeded: Seeded) -> None:
    _, architecture, weights = named_family(name, seeded)
    engine = opened(architecture, weights, exact=exact)
    golden = read_golden(f"family_{name}")["images"]
    for picture, recorded in zip(pictures_for(architecture), golden, strict=True):
        expected = detections_of(recorded["detections"], picture)
        assert len(expected) >= 5, "too few detections to prove anything"
        prepared = engine.prepare(picture, NULL_STOPWATCH)
        found = engine.infer([prepared], NULL_STOPWATCH)[0]
        agreement = compare(found, expected)
        # The recorded bits are of one processor; another one's sums end in another bit.
        assert agreement.unmatched == 0, agreement
        assert agreement.mask_off_px <= 1, agreement
        assert (found.panoptic is None) == (expected.panoptic is None)
        if found.panoptic is not None and expected.panoptic is not None:
            kinds = {one.is_thing for one in expected.panoptic.segments}
            assert kinds == {True, False}, "the map has only things, or only stuff"
            pair = (classes_of_pixels(one) for one in (found.panoptic, expected.panoptic))
            assert np.not_equal(*pair).mean() < 1e-3


@pytest.mark.parametrize(
    "name",
    [pytest.param(one, marks=() if one in QUICK_IN_BF16 else pytest.mark.slow) for one in FAMILIES],
)
def test_bf16_computes_it_too(name: str, seeded: Seeded) -> None:
    _, architecture, weights = named_family(name, seeded)
    engines = [
        open_native(
            architecture=architecture, weights=weights, device="cpu", threads=1, precision=precision
        )
        for precision in ("fp32", "bf16")
    ]
    picture = pictures_for(architecture)[0]
    expected, found = (
        engine.infer([engine.prepare(picture, NULL_STOPWATCH)], NULL_STOPWATCH)[0]
        for engine in engines
    )
    assert len(found) >= len(expected) // 2
    # The best score moves by what bf16 rounds, which random weights amplify.
    assert abs(float(found.scores[0]) - float(expected.scores[0])) < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_the_fast_arithmetic_differs_by_rounding_only(name: str, seeded: Seeded) -> None:
    _, architecture, weights = named_family(name, seeded)
    proof = prove_fast(
        opened(architecture, weights, exact=False),
        opened(architecture, weights, exact=True),
        float64_network(architecture, weights, torch.device("cpu")),
        pictures_for(architecture)[:1],
        case=case_of(architecture),
    )
    assert proof.ok, (proof.stages, proof.differences)
    assert proof.detections >= 5
    assert any(stage.ours != stage.reference for stage in proof.stages)


@pytest.mark.filterwarnings("ignore")
def test_it_has_the_bits_of_detectron2(family: tuple[str, Architecture, Path]) -> None:
    pytest.importorskip("detectron2", reason="Detectron2 is not installed")
    from harness.engines.detectron2 import open_detectron2
    from harness.engines.parity.bits import prove_exact

    _, architecture, weights = family
    reference = open_detectron2(architecture=architecture, weights=weights, device="cpu", threads=1)
    proof = prove_exact(
        opened(architecture, weights, exact=True), reference, pictures_for(architecture)
    )
    assert proof.ok, proof.first_difference
    assert proof.equal == proof.detections > 0
