"""Whatever a proof finds can be written as JSON: of an image as a whole, and of numbers that
overflow, as those of a reduced precision may.
"""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from harness.core.detections import Detections
from harness.engines.native import open_native
from harness.engines.parity import case
from harness.engines.parity.answers import Expected, is_as_expected
from harness.engines.parity.comparison import _difference, _proposal_difference, _worst
from harness.engines.parity.rounding import FastProof, float64_network, prove_fast
from harness.engines.parity.tracing import Decision
from harness.files.json import dumps, to_plain
from harness.nn.heads import located
from harness.zoo.architectures import tiny
from harness.zoo.seeded import seeded_checkpoint
from harness.zoo.weights import write_checkpoint
from tests.golden.cases import pictures

TIPPED = Decision(kind="score at its cut", margin=0.1, rounding=0.2)


@pytest.mark.parametrize("score", [0.5, math.nan])
@pytest.mark.parametrize("pair", [None, 11])
def test_a_difference_without_a_score_has_none(
    score: float, pair: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(case, "pair_side", lambda _: SimpleNamespace(score=lambda _: score))
    image: Any = SimpleNamespace(
        reference=SimpleNamespace(scores=torch.zeros((3, 8))),
        ours=None,
        image=SimpleNamespace(image_id=7),
    )
    found = case.Case.difference(image, pair, "not as replayed", TIPPED)
    known = pair is not None and not math.isnan(score)
    assert found.score == (score if known else None)
    assert found.class_index == (0 if pair is None else 3)
    assert found.decision == TIPPED
    assert '"what":"not as replayed"' in dumps(to_plain(found))
    for name in ("margin", "rounding"):
        numbers = {one.name: getattr(TIPPED, one.name) for one in fields(TIPPED)}
        endless = Decision(**{**numbers, name: math.inf})
        assert case.Case.difference(image, pair, "mask", endless).decision is None


@pytest.fixture(scope="module")
def overflowing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights whose masks are beyond what float32 can hold, though every weight is finite."""
    path = tmp_path_factory.mktemp("overflowing") / "tiny.safetensors"
    weights = {
        name: values * np.float32(1e30)
        if "mask_head" in name and name.endswith("weight")
        else values
        for name, values in seeded_checkpoint(tiny()).items()
    }
    write_checkpoint(path, weights)
    return path


@pytest.fixture(scope="module")
def proof(overflowing: Path) -> FastProof:
    fast, reference = (
        open_native(architecture=tiny(), weights=overflowing, device="cpu", threads=1, exact=exact)
        for exact in (False, True)
    )
    truth = float64_network(tiny(), overflowing, torch.device("cpu"))
    return prove_fast(fast, reference, truth, pictures()[:1])


def test_a_network_that_overflows_is_no_parity(proof: FastProof) -> None:
    assert not proof.ok
    rows = {row.stage: row for row in proof.stages}
    masks = rows.pop("mask probabilities")
    assert (masks.ours, masks.reference, masks.ratio, masks.ok) == (None, None, None, False)
    assert all(row.ok for row in rows.values())
    assert dumps(to_plain(proof))


@pytest.mark.parametrize("heat_off", [1e-6, 300.0, math.inf])
def test_heat_may_be_off_by_more_than_a_float_can_grow(heat_off: float) -> None:
    box = torch.tensor([[1.0, 1.0, 9.0, 9.0]])
    heat = torch.randn((1, 2, 8, 8), generator=torch.Generator().manual_seed(0))
    answer = Detections(
        image_id=1,
        boxes_xyxy_px=box.numpy(),
        scores=np.full(1, 0.5, np.float32),
        class_index=np.zeros(1, np.int64),
        masks=None,
        keypoints=located(heat, box).numpy(),
    )
    expected = Expected(
        boxes=box,
        resized=box,
        scores=torch.full((1,), 0.5),
        classes=torch.zeros(1, dtype=torch.int64),
        soft=None,
        heat=heat,
        box_off=1e-3,
        score_off=1e-5,
        soft_off=0.0,
        heat_off=heat_off,
        mask_threshold=0.5,
        scale=(1.0, 1.0),
    )
    assert is_as_expected(answer, expected)


@pytest.mark.parametrize("other", ["lacking", "another shape", "infinite", "not a number"])
def test_stages_that_cannot_be_subtracted_have_no_largest_difference(other: str) -> None:
    stage = np.ones((3, 5), np.float32)
    found = {
        "lacking": None,
        "another shape": stage[:, :4],
        "infinite": stage * np.float32(math.inf),
        "not a number": stage * np.float32(math.nan),
    }[other]
    row = _difference("backbone p2", found, stage)
    assert (row.max_absolute, row.max_relative, row.ok) == (None, None, False)
    assert row.same_shape == (other in ("infinite", "not a number"))
    both = _difference("backbone p2", stage * np.float32(math.inf), stage * np.float32(math.inf))
    assert (both.max_absolute, both.max_relative, both.ok) == (None, None, False)
    same = _difference("backbone p2", stage, stage)
    assert same.ok
    for parts in ([row, same], [same, row]):
        worst = _worst(parts)
        assert (worst.max_absolute, worst.ok) == (None, False)
        assert worst.same_shape == row.same_shape
        assert dumps(to_plain(worst))


@pytest.mark.parametrize(("found", "expected"), [(0, 3), (3, 0), (0, 0)])
def test_an_image_without_proposals_is_compared(found: int, expected: int) -> None:
    boxes = np.arange(12, dtype=np.float32).reshape(3, 4)
    row = _proposal_difference(boxes[:found], boxes[:expected])
    assert row.ok == (found == expected)
    assert dumps(to_plain(row))
