from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed: pip install triton")

from harness.nn.kernels.outlines import outlines
from harness.nn.masks import paste_outlines

HEIGHT, WIDTH = 21, 26

BOXES = torch.tensor(
    [
        [4.2, 3.1, 20.7, 18.9],
        [0.0, 0.0, 26.0, 21.0],  # the whole image: runs go on from column to column
        [10.0, 0.0, 16.5, 21.0],  # from top to bottom, with columns on both sides
        [18.0, 5.0, 26.0, 21.0],  # ends at the bottom, in the last column too
        [0.0, 0.0, 9.0, 8.0],
        [20.0, 20.0, 20.6, 20.8],  # no pixel's centre
    ]
)


def soft_masks(count: int) -> torch.Tensor:
    drawn = torch.Generator().manual_seed(5)
    rough = torch.rand((count, 1, 4, 4), generator=drawn)
    soft = torch.nn.functional.interpolate(rough, size=(14, 14), mode="bilinear")[:, 0]
    soft[1:3] = 0.9
    return soft


def test_outlines_are_those_of_the_eager_path(device: torch.device) -> None:
    soft = soft_masks(len(BOXES))
    expected = paste_outlines(soft, BOXES, HEIGHT, WIDTH, 0.5)
    kept = torch.ones((1, len(BOXES)), dtype=torch.bool)
    sizes = torch.tensor([[HEIGHT, WIDTH]], dtype=torch.int32)
    places, counts = outlines(*_on(device, soft, BOXES[None], kept, sizes), 0.5, 4096, shares=3)
    _require_equal(places[0], counts[0], expected, HEIGHT * WIDTH)
    assert [len(one) > 0 for one in expected] == [True] * 5 + [False]


@pytest.mark.slow
def test_two_images_of_other_sizes_and_masks_that_do_not_count(device: torch.device) -> None:
    soft = soft_masks(6)
    boxes = BOXES.view(2, 3, 4).clone()
    boxes[0, 1] = torch.tensor([0.0, 0.0, 20.0, 15.0])
    kept = torch.tensor([[True, True, False], [False, True, True]])
    sizes = torch.tensor([[15, 20], [HEIGHT, WIDTH]], dtype=torch.int32)
    places, counts = outlines(*_on(device, soft, boxes, kept, sizes), 0.5, 4096, shares=3)
    for image, (height, width) in enumerate(sizes.tolist()):
        found = paste_outlines(soft[image * 3 : image * 3 + 3], boxes[image], height, width, 0.5)
        empty = torch.zeros(0, dtype=torch.int64)
        expected = [
            one if alive else empty for one, alive in zip(found, kept[image].tolist(), strict=True)
        ]
        _require_equal(places[image], counts[image], expected, height * width)


@pytest.mark.slow
def test_more_places_than_the_buffer_holds_are_counted_and_not_written(
    device: torch.device,
) -> None:
    soft = soft_masks(2)
    kept = torch.ones((1, 2), dtype=torch.bool)
    sizes = torch.tensor([[8, 9]], dtype=torch.int32)
    boxes = torch.tensor([[[1.2, 1.1, 7.7, 6.9], [0.0, 0.0, 9.0, 8.0]]])
    given = _on(device, soft, boxes, kept, sizes)
    places, counts = outlines(*given, 0.5, 4096, shares=3)
    assert int(counts.sum()) > 10
    few, same = outlines(*given, 0.5, 10, shares=3)
    assert torch.equal(counts, same)
    assert torch.equal(few[0], places[0, :10])


def _on(device: torch.device, *tensors: torch.Tensor) -> list[torch.Tensor]:
    return [tensor.to(device) for tensor in tensors]


def _require_equal(
    places: torch.Tensor, counts: torch.Tensor, expected: list[torch.Tensor], end: int
) -> None:
    """Equal, but for a change at the very end of the image, which the encoder leaves out."""
    found = places[: int(counts.sum())].cpu().split(counts.tolist())
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one[one < end].long(), other), (one, other)
