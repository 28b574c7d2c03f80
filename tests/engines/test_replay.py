"""A replay decides as the network does: among equal scores, too, which bf16 has many of."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.core.detections import Detections, Image
from harness.engines.native import NativeEngine, open_native
from harness.engines.network_outputs import Resized
from harness.engines.parity.replay import Choice, Replayer, choose
from harness.measure.timing import NULL_STOPWATCH
from harness.nn.boxes import nonempty
from harness.nn.operators import ONE_CALL_CPU, batched_nms
from harness.nn.slots import Capacity, SlotNetwork
from harness.zoo.architectures import tiny
from tests.conftest import Seeded
from tests.golden.cases import pictures
from tests.nn.plain_operators import PlainOperators, in_slots

#: Boxes in a test of many, whose groups are suppressed one after the other.
MANY = ONE_CALL_CPU // 4 + 500


@pytest.fixture(scope="module", params=["fp32", "bf16"])
def engine(request: pytest.FixtureRequest, seeded: Seeded) -> NativeEngine:
    return open_native(
        architecture=tiny(),
        weights=seeded(tiny()),
        device="cpu",
        threads=1,
        precision=request.param,
    )


@pytest.mark.parametrize("count", [300, MANY])
@pytest.mark.parametrize("seed", range(5))
def test_the_last_one_taken_of_equal_scores_is_the_networks(count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    corners = 1000 * torch.rand(count, 2, generator=generator)
    boxes = torch.cat((corners, corners + 10 + 40 * torch.rand(count, 2, generator=generator)), 1)
    scores = torch.randint(8, (count,), generator=generator).float()
    groups = torch.randint(5, (count,), generator=generator).sort()[0]
    ids = torch.randperm(count, generator=generator)
    found = choose(ids, scores, boxes, groups, 0.7, count // 2)
    expected = ids[batched_nms(boxes, scores, groups, 0.7)[: count // 2]]
    assert torch.equal(found.best, expected)
    assert set(found.ids[found.chosen].tolist()) == set(expected.tolist())
    assert bool((found.scores.diff() <= 0).all())
    assert int(found.kept.sum()) > count // 2


def replayed(engine: NativeEngine, prepared: Resized, *, slots: bool) -> Choice:
    network = SlotNetwork(engine.network, PlainOperators(), Capacity()) if slots else None
    return Replayer(engine.network, network).replay(prepared).detections


@pytest.mark.parametrize("slots", [False, True])
@pytest.mark.parametrize("picture", pictures(), ids=lambda one: str(one.image_id))
def test_a_replay_has_the_bits_of_the_network(
    engine: NativeEngine, picture: Image, slots: bool
) -> None:
    prepared = engine.prepare(picture, NULL_STOPWATCH)
    if slots:
        (answer,) = in_slots(engine, [picture], Capacity())
        assert isinstance(answer, Detections)
    else:
        (answer,) = engine.infer([prepared], NULL_STOPWATCH)
    found = replayed(engine, prepared, slots=slots)
    rows = {one: row for row, one in enumerate(found.ids.tolist())}
    chosen = torch.tensor([rows[one] for one in found.best.tolist()])
    assert bool(nonempty(found.boxes[chosen]).all())
    assert len(answer) > 20
    np.testing.assert_array_equal(found.scores[chosen].numpy(), answer.scores)
    np.testing.assert_array_equal(found.groups[chosen].numpy(), answer.class_index)
