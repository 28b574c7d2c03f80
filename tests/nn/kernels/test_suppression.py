from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.ops import batched_nms, nms

pytest.importorskip("triton", reason="Triton is not installed: pip install triton")

from harness.nn.kernels import suppression
from harness.nn.kernels.suppression import SEGMENT_MAX, first_survivors, kept_in_segments


def boxes_of(seed: int, *shape: int) -> Tensor:
    """Boxes of whole pixels, so that every product is exact, and so crowded that many overlap."""
    drawn = torch.Generator().manual_seed(seed)
    corners = torch.randint(0, 40, (*shape, 2), generator=drawn)
    sides = torch.randint(1, 30, (*shape, 2), generator=drawn)
    return torch.cat((corners, corners + sides), dim=-1).float()


@pytest.mark.parametrize(
    "segments",
    [(70, 33, 1), (32, 64), (20,), pytest.param((1, 1030), marks=pytest.mark.slow)],
)
def test_segments_keep_what_torchvision_keeps(
    segments: tuple[int, ...], device: torch.device
) -> None:
    check_segments(segments, device)


def test_the_wide_table_of_a_training_holds_the_same(
    device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suppression, "ROWS_OF_WORDS", (64,))
    check_segments((70, 33, 1), device)


def check_segments(segments: tuple[int, ...], device: torch.device) -> None:
    """Compare what survives in two images with torchvision's."""
    count = sum(segments)
    boxes = boxes_of(1, 2, count)
    valid = torch.rand((2, count), generator=torch.Generator().manual_seed(2)) > 0.2
    starts = torch.tensor((0, *segments)).cumsum(0).to(torch.int32)
    found = kept_in_segments(
        boxes.to(device), valid.to(device), starts.to(device), max(segments), 0.5
    )
    group = torch.repeat_interleave(torch.arange(len(segments)), torch.tensor(segments))
    for image in range(2):
        rows = valid[image].nonzero()[:, 0]
        # Best first in each segment, whatever the order of segments.
        scores = -rows.float()
        kept = rows[batched_nms(boxes[image, rows], scores, group[rows], 0.5)]
        expected = torch.zeros(count, dtype=torch.bool)
        expected[kept] = True
        assert 0 < int(expected.sum()) < int(valid[image].sum())
        assert torch.equal(found[image].cpu(), expected)


def test_a_segment_too_long_is_refused(device: torch.device) -> None:
    boxes = boxes_of(1, 1, 4).to(device)
    starts = torch.tensor([0, 4], dtype=torch.int32, device=device)
    with pytest.raises(ValueError, match="at most 2048"):
        kept_in_segments(boxes, boxes[..., 0] >= 0, starts, SEGMENT_MAX + 1, 0.5)


def test_the_first_survivors_are_torchvisions(device: torch.device) -> None:
    boxes = boxes_of(3, 3, 100)
    counts = torch.tensor([100, 12, 0], dtype=torch.int32)
    rows, number = first_survivors(boxes.to(device), counts.to(device), 0.3, 20)
    for image, count in enumerate(counts.tolist()):
        kept = nms(boxes[image, :count], -torch.arange(count).float(), 0.3)[:20]
        assert int(number[image]) == len(kept)
        assert torch.equal(rows[image, : len(kept)].cpu(), kept)
        assert int(rows[image, len(kept) :].sum()) == 0
    assert int(number[0]) == 20
    assert 0 < int(number[1]) < 20
