"""Regions of all images of a batch in slots of fixed size: proposals, and the boxes' arithmetic.

The eager path (``nn.rpn``) selects the proposals of one image after the other, and waits for the
device in each. Here all images are selected from at once, and nothing is waited for: inference on
a GPU does it (``nn.slots``), and training there. B images, N candidates of all levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from harness.nn.boxes import apply_deltas
from harness.nn.rpn import DELTA_WEIGHTS, RPN

#: Candidates of a level at most that ``nn.kernels.suppression`` takes.
MOST_A_LEVEL = 2048


class RegionOperators(Protocol):
    """What torch lacks for proposals in slots; ``nn.kernels`` implements it."""

    def kept_in_segments(
        self, boxes: Tensor, valid: Tensor, starts: Tensor, longest: int, threshold: float
    ) -> Tensor: ...


class SlotProposals:
    """The selection of a proposal generator for several levels.

    Args:
        rpn: Of an FPN.
        operators: The kernels.
    """

    def __init__(self, rpn: RPN, operators: RegionOperators) -> None:
        self._rpn = rpn
        self._operators = operators
        self._segments: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}

    def __call__(
        self,
        logits: Sequence[Tensor],
        deltas: Sequence[Tensor],
        pyramid: Sequence[Tensor],
        resized: Tensor,
        *,
        pre_nms_per_level: int | None = None,
        post_nms: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the proposals of each image: those that ``RPN.select`` finds on the same device.

        Args:
            logits: Per level (B, H·W·A).
            deltas: Per level (B, H·W·A, 4).
            pyramid: p2 … p6.
            resized: (B, 2) float32, height and width of each image before padding.
            pre_nms_per_level: Candidates a level; None for the test-time recipe's.
            post_nms: Proposals an image; None for the test-time recipe's.

        Returns:
            (B, P, 4) float32, px of the resized input, best first; (B,) int32, how many count.
        """
        rpn = self._rpn
        pre_nms = rpn.pre_nms_per_level if pre_nms_per_level is None else pre_nms_per_level
        scores, moves, anchors = [], [], []
        for number, (level, all_moves) in enumerate(zip(logits, deltas, strict=True)):
            best, places = level.float().topk(min(level.shape[1], pre_nms), dim=1)
            cell, width = rpn.get_buffer(f"cell_anchors{number}"), pyramid[number].shape[3]
            scores.append(best)
            moves.append(all_moves.gather(1, places[..., None].expand(-1, -1, 4)))
            anchors.append(anchors_at(places, cell, width, rpn.strides_px[number]))
        counts = tuple(one.shape[1] for one in scores)
        objectness = torch.cat(scores, 1)  # (B, N)
        decoded = apply_deltas(
            torch.cat(moves, 1).flatten(0, 1), torch.cat(anchors, 1).flatten(0, 1), DELTA_WEIGHTS
        )
        candidates = clip_each(decoded.view(*objectness.shape, 4), resized)
        kept = self._kept(candidates, counts)
        ranked = objectness.masked_fill(~kept, -torch.inf).sort(
            dim=1, descending=True, stable=True
        )[1]
        slots = min(rpn.post_nms if post_nms is None else post_nms, candidates.shape[1])
        chosen = candidates.gather(1, ranked[:, :slots, None].expand(-1, -1, 4))  # (B, P, 4)
        return chosen, kept.sum(1, dtype=torch.int32).clamp(max=slots)

    def _kept(self, candidates: Tensor, counts: tuple[int, ...]) -> Tensor:
        """Return (B, N) bool: which candidates (B, N, 4) survive those of their level."""
        valid = nonempty_each(candidates)  # (B, N)
        starts, level_of = self._segments_of(counts, candidates.device)
        moved = apart(candidates, valid, level_of)
        return self._operators.kept_in_segments(
            moved, valid, starts, max(counts), self._rpn.nms_iou
        )

    def _segments_of(self, counts: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
        """Return where each level's candidates begin, and the (1, N) level of each; kept, for
        graphs.
        """
        if counts not in self._segments:
            numbers = torch.tensor((0, *counts))
            levels = torch.repeat_interleave(torch.arange(len(counts)), numbers[1:])
            self._segments[counts] = (
                numbers.cumsum(0).to(device, torch.int32),
                levels[None].to(device),
            )
        return self._segments[counts]


def anchors_at(places: Tensor, cell: Tensor, width: int, stride_px: int) -> Tensor:
    """Return the anchors at some positions of a map.

    Args:
        places: (…) int64 positions in the order of ``grid_anchors``.
        cell: (A, 4) anchors around the origin.
        width: Cells of the map from left to right.
        stride_px: Pixels of the input in a cell.

    Returns:
        (…, 4) float32, px of the resized input.
    """
    where = places // len(cell)
    x, y = where % width, where // width
    return torch.stack((x, y, x, y), dim=-1) * float(stride_px) + cell[places % len(cell)]


def clip_each(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Return (B, n, 4) boxes cut at the borders of their image.

    Args:
        boxes: (B, n, 4).
        sizes: (B, 2) float32, height and width of each image.
    """
    height, width = sizes[:, :1], sizes[:, 1:]
    x1, y1, x2, y2 = (side.clamp(min=0) for side in boxes.unbind(-1))
    return torch.stack(
        (x1.minimum(width), y1.minimum(height), x2.minimum(width), y2.minimum(height)), dim=-1
    )


def nonempty_each(boxes: Tensor) -> Tensor:
    """Return (B, n) bool: whether width and height of each box (B, n, 4) are above zero."""
    return (boxes[..., 2] > boxes[..., 0]) & (boxes[..., 3] > boxes[..., 1])


def apart(boxes: Tensor, valid: Tensor, groups: Tensor) -> Tensor:
    """Return boxes moved so that those of different groups never meet (torchvision's batched_nms).

    The shift costs bits of the coordinates, and so can tip a pair at the threshold: what has to
    decide as that operator does has to lose the same bits.

    Args:
        boxes: (B, n, 4).
        valid: (B, n) bool; the others have no part in how far they are moved.
        groups: (B or 1, n) int64, from 0.
    """
    largest = boxes.masked_fill(~valid[..., None], 0.0).amax((1, 2))
    shift = groups.to(boxes.dtype) * (largest[:, None] + 1)
    return boxes + shift[..., None]
