"""Mask targets: they follow their image, and are cut out as Detectron2 cuts them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.data.objects import Segmentation
from harness.measure.masks import rasterised, rle_of
from harness.training.masks import transformed

POLYGON = [[10.0, 12.0, 70.5, 8.0, 64.0, 50.0, 30.0, 55.5]]
SIZE = (64, 80)


def masks_of(segmentation: Segmentation, scale: float, *, flip: bool):
    size = (round(SIZE[0] * scale), round(SIZE[1] * scale))
    return transformed([segmentation], size, (scale, scale), flip)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("kind", ["polygon", "run lengths"])
def test_masks_move_with_their_image(kind: str, flip: bool) -> None:
    whole = rasterised(POLYGON, *SIZE)
    given: Segmentation = POLYGON if kind == "polygon" else rle_of(POLYGON, *SIZE)
    found = masks_of(given, 2.0, flip=flip).crop(
        torch.tensor([[0.0, 0.0, 160.0, 128.0]]), torch.tensor([0]), 64
    )[0]
    # 64 cells over 128 × 160 px: every other pixel of the original across, each one down.
    expected = whole[:, ::-1] if flip else whole
    columns = np.linspace(0, SIZE[1] - 1, 64).round().astype(int)
    agreement = float((found.numpy() == expected[:, columns]).mean())
    assert agreement > 0.97


def test_both_kinds_of_masks_give_nearly_the_same_targets() -> None:
    boxes = torch.tensor([[9.0, 7.0, 72.0, 57.0], [20.0, 20.0, 60.0, 60.0]])
    truth = torch.tensor([0, 0])
    drawn = masks_of(POLYGON, 1.0, flip=False).crop(boxes, truth, 28)
    pooled = masks_of(rle_of(POLYGON, *SIZE), 1.0, flip=False).crop(boxes, truth, 28)
    assert drawn.dtype == pooled.dtype == torch.bool
    assert float((drawn == pooled).float().mean()) > 0.95


def test_crops_together_are_those_made_one_by_one() -> None:
    random = np.random.Generator(np.random.PCG64(6))
    whole = rle_of(POLYGON, *SIZE)
    other = [[5.0, 5.0, 30.0, 9.0, 25.0, 40.0], [50.0, 20.0, 75.0, 25.0, 60.0, 60.0]]
    masks = transformed([POLYGON, whole, other, whole], SIZE, (1.0, 1.0), False)
    corners = random.uniform(0, 50, (40, 4)).astype(np.float32)
    corners[:, 2:] += corners[:, :2]
    boxes, truth = torch.from_numpy(corners), torch.from_numpy(random.integers(0, 4, 40))
    together = masks.crop(boxes, truth, 28)
    alone = [masks.crop(boxes[row, None], truth[row, None], 28)[0] for row in range(40)]
    assert torch.equal(together, torch.stack(alone))
    assert 0.1 < float(together.float().mean()) < 0.9


@pytest.mark.filterwarnings("ignore")
def test_both_kinds_equal_detectron2() -> None:
    structures = pytest.importorskip("detectron2.structures", reason="Detectron2 is not installed")
    random = np.random.Generator(np.random.PCG64(5))
    corners = random.uniform(0, 60, (20, 4)).astype(np.float32)
    corners[:, 2:] += corners[:, :2]
    corners[0, 2] = corners[0, 0] + 0.01  # thinner than the thinnest
    boxes = torch.from_numpy(corners)
    truth = torch.zeros(len(boxes), dtype=torch.int64)
    ours = masks_of(POLYGON, 1.0, flip=False).crop(boxes, truth, 28)
    polygons = structures.PolygonMasks([[np.array(POLYGON[0])]] * len(boxes))
    assert torch.equal(ours, polygons.crop_and_resize(boxes, 28))
    ours = masks_of(rle_of(POLYGON, *SIZE), 1.0, flip=False).crop(boxes, truth, 28)
    bitmap = torch.from_numpy(rasterised(POLYGON, *SIZE))
    bitmaps = structures.BitMasks(bitmap[None].repeat(len(boxes), 1, 1))
    assert torch.equal(ours, bitmaps.crop_and_resize(boxes, 28))
