"""Both ways to paste a mask give the same bytes."""

from __future__ import annotations

import pytest
import torch

from harness.core.run_lengths import Rle, decode
from harness.measure.masks import encode_edges, encode_region
from harness.nn import masks
from harness.nn.masks import paste_outlines, paste_regions

HEIGHT, WIDTH = 41, 57


def by_region(soft: torch.Tensor, boxes: torch.Tensor) -> list[Rle]:
    return [
        encode_region(
            one.region.numpy(),
            top_px=one.top_px,
            left_px=one.left_px,
            height_px=HEIGHT,
            width_px=WIDTH,
        )
        for one in paste_regions(soft, boxes, HEIGHT, WIDTH, 0.5)
    ]


def by_outline(soft: torch.Tensor, boxes: torch.Tensor) -> list[Rle]:
    return [
        encode_edges(one.numpy(), height_px=HEIGHT, width_px=WIDTH)
        for one in paste_outlines(soft, boxes, HEIGHT, WIDTH, 0.5)
    ]


def random_detections(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth masks, and boxes of all sizes, some of them the whole image or along its border."""
    random = torch.Generator().manual_seed(seed)
    soft = torch.rand(count, 1, 5, 5, generator=random)
    soft = torch.nn.functional.interpolate(soft, size=(28, 28), mode="bilinear")[:, 0]
    corners = torch.rand(count, 2, 2, generator=random).sort(dim=1).values
    boxes = (corners * torch.tensor([WIDTH, HEIGHT])).flatten(1)
    boxes[0] = torch.tensor([0.0, 0.0, WIDTH, HEIGHT])
    boxes[1] = torch.tensor([WIDTH - 3.5, 0.0, WIDTH, HEIGHT])
    boxes[2] = torch.tensor([3.2, 4.1, 3.3, 4.2])
    return soft, boxes


@pytest.mark.parametrize("at_once", [1, 3 * HEIGHT * WIDTH, masks.PIXELS_AT_ONCE])
def test_regions_and_outlines_are_the_same_masks(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(masks, "PIXELS_AT_ONCE", at_once)
    soft, boxes = random_detections(40, seed=1)
    found = by_outline(soft, boxes)
    assert found == by_region(soft, boxes)
    sizes = [int(decode(one).sum()) for one in found]
    assert sizes[0] > sizes[1] > 0
    assert len(set(sizes)) > 20


@pytest.mark.parametrize(("probability", "pixels"), [(0.0, 0), (1.0, HEIGHT * WIDTH)])
def test_all_or_nothing(probability: float, pixels: int) -> None:
    # A box that reaches over the border: bilinear sampling fades outside of the soft mask.
    soft = torch.full((1, 28, 28), probability)
    boxes = torch.tensor([[-4.0, -4.0, WIDTH + 4.0, HEIGHT + 4.0]])
    (one,) = by_outline(soft, boxes)
    assert int(decode(one).sum()) == pixels


def test_no_detections_are_no_masks() -> None:
    assert paste_outlines(torch.zeros(0, 28, 28), torch.zeros(0, 4), HEIGHT, WIDTH, 0.5) == []
