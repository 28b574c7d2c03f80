"""Maps of segments are put together as Detectron2 does, and proven by their network's rounding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from harness.core.architecture import Architecture
from harness.core.errors import RunFailedError
from harness.core.panoptic import PanopticMap, Segment
from harness.engines.native import NativeEngine, open_native
from harness.engines.parity.rounding import FastProof, float64_network, prove_fast
from harness.engines.parity.rounding_cases import PanopticCase
from harness.measure.timing import NULL_STOPWATCH
from harness.nn.masks import PastedMask
from harness.nn.panoptic import combined
from harness.zoo.architectures import tiny
from harness.zoo.seeded import seeded_checkpoint
from harness.zoo.weights import write_checkpoint
from tests.golden.cases import pictures

#: As the embedded network, with a semantic head of as many channels as GroupNorm has groups.
SMALL = replace(tiny(), semantic_classes=6, semantic_channels=32, combine_score=0.1)

SIZE = (30, 40)
NUMBERS = replace(tiny(), semantic_classes=4, combine_stuff_px=60)


def block(top: int, left: int, height: int, width: int) -> PastedMask:
    """A mask that is true all over a rectangle."""
    return PastedMask(torch.ones((height, width), dtype=torch.bool), top, left)


def labels(*columns: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Classes in columns of equal width."""
    return np.repeat(np.array(columns), SIZE[1] // len(columns))[None].repeat(SIZE[0], axis=0)


def test_the_better_mask_is_on_top_and_stuff_gets_what_is_left() -> None:
    found = combined(
        torch.tensor([0.6, 0.9]),
        torch.tensor([3, 5]),
        [block(0, 0, 10, 10), block(0, 6, 10, 10)],
        labels(0, 1, 2, 2),
        NUMBERS,
    )
    assert [(one.is_thing, one.class_index) for one in found.segments] == [
        (True, 5),
        (True, 3),
        (False, 1),
        (False, 2),
    ]
    assert found.segments[0].score == pytest.approx(0.9)
    assert (found.ids[:10, 6:16] == 1).all()
    assert (found.ids[:10, :6] == 2).all()
    assert (found.ids[10:, :10] == 0).all(), "class 0 is things of any kind"
    assert (found.ids[10:, 10:20] == 3).all()


def test_what_is_covered_weak_or_small_is_left_out() -> None:
    masks = [block(0, 0, 10, 10), block(0, 4, 10, 10), block(0, 5, 10, 10), block(20, 0, 5, 5)]
    found = combined(
        torch.tensor([0.9, 0.8, 0.7, 0.49]),
        torch.tensor([1, 2, 3, 4]),
        masks,
        np.where(np.arange(SIZE[1]) < 2, 3, 0)[None].repeat(SIZE[0], axis=0),
        replace(NUMBERS, combine_stuff_px=41),
    )
    # The second is covered by 60 %; of the third then 50 %, which is allowed; 40 px of stuff left.
    assert [one.class_index for one in found.segments] == [1, 3]


@pytest.mark.filterwarnings("ignore")
def test_random_maps_are_detectron2s() -> None:
    pytest.importorskip("detectron2", reason="Detectron2 is not installed")
    from detectron2.modeling.meta_arch.panoptic_fpn import combine_semantic_and_instance_outputs

    random = np.random.Generator(np.random.PCG64(5))
    for _ in range(20):
        count = int(random.integers(0, 12))
        masks = torch.zeros((count, *SIZE), dtype=torch.bool)
        pasted = []
        for mask in masks:
            top, left = random.integers(0, 20), random.integers(0, 30)
            region = torch.from_numpy(random.random((10, 10)) < 0.7)
            mask[top : top + 10, left : left + 10] = region
            pasted.append(PastedMask(region, int(top), int(left)))
        scores = torch.from_numpy(random.choice([0.2, 0.5, 0.6, 0.6, 0.9], count)).float()
        classes = torch.from_numpy(random.integers(0, 8, count))
        semantic = random.integers(0, 4, SIZE)
        semantic[: int(random.integers(0, 20))] = 2
        found = combined(scores, classes, pasted, semantic, NUMBERS)
        instances = SimpleNamespace(scores=scores, pred_classes=classes, pred_masks=masks)
        ids, segments = combine_semantic_and_instance_outputs(
            instances, torch.from_numpy(semantic), 0.5, 60, 0.5
        )
        assert (found.ids == ids.numpy()).all()
        assert [(one.segment_id, one.is_thing, one.class_index) for one in found.segments] == [
            (one["id"], one["isthing"], one["category_id"]) for one in segments
        ]


def test_a_map_has_the_segments_it_lists() -> None:
    ids = np.zeros(SIZE, dtype=np.int32)
    segment = Segment(segment_id=1, is_thing=False, class_index=1)
    with pytest.raises(RunFailedError, match=r"has the segments \[\], and \[1\] are listed"):
        PanopticMap(ids=ids, segments=(segment,))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("panoptic") / "weights.safetensors"
    write_checkpoint(path, seeded_checkpoint(SMALL))
    return path


def opened(weights: Path, *, exact: bool, architecture: Architecture = SMALL) -> NativeEngine:
    return open_native(
        architecture=architecture, weights=weights, device="cpu", threads=1, exact=exact
    )


def proof(fast: NativeEngine, weights: Path) -> FastProof:
    truth = float64_network(SMALL, weights, torch.device("cpu"))
    return prove_fast(fast, opened(weights, exact=True), truth, pictures()[:1], case=PanopticCase)


def test_the_fast_map_differs_by_rounding_only(weights: Path) -> None:
    found = proof(opened(weights, exact=False), weights)
    assert found.ok, (found.stages, found.differences)
    last = found.stages[-1]
    assert last.stage == "semantic logits"
    assert 0 < last.reference < 1e-4


def test_a_semantic_weight_that_is_off_is_no_rounding(weights: Path) -> None:
    engine = opened(weights, exact=False)
    engine.network.sem_seg_head.predictor.weight.mul_(1.001)
    found = proof(engine, weights)
    assert [stage.stage for stage in found.stages if not stage.ok] == ["semantic logits"]
    engine = opened(weights, exact=False)
    engine.network.sem_seg_head.predictor.bias[2] += 0.5
    found = proof(engine, weights)
    assert "pixels" in {one.what for one in found.differences if one.decision is None}


def test_a_map_that_is_put_together_otherwise_is_no_rounding(weights: Path) -> None:
    other = opened(weights, exact=False, architecture=replace(SMALL, combine_overlap=0.05))
    found = proof(other, weights)
    assert "not as replayed" in {one.what for one in found.differences}


def test_images_of_a_batch_have_maps_of_their_own_size(weights: Path) -> None:
    engine = opened(weights, exact=True)
    prepared = [engine.prepare(one, NULL_STOPWATCH) for one in pictures()]
    for one, found in zip(pictures(), engine.infer(prepared, NULL_STOPWATCH), strict=True):
        assert found.panoptic is not None
        assert found.panoptic.ids.shape == one.pixels_bgr.shape[:2]
