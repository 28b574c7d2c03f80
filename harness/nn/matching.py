"""Which ground-truth box an anchor or proposal belongs to, and which of them are trained on.

Rules and numbers are those of Detectron2 (``modeling/matcher.py``, ``modeling/sampling.py``).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

IGNORED = -1
NEGATIVE = 0
POSITIVE = 1


class Matches(NamedTuple):
    """Per candidate: the best ground truth, and POSITIVE, NEGATIVE or IGNORED.

    truth (n,) int64 index, meaningless where there is no ground truth · label (n,) int8.
    """

    truth: Tensor
    label: Tensor


def pairwise_iou(first: Tensor, second: Tensor) -> Tensor:
    """(m, n) intersection over union of (m, 4) and (n, 4) boxes; 0 where they do not meet."""
    corners = torch.min(first[:, None, 2:], second[:, 2:])
    corners -= torch.max(first[:, None, :2], second[:, :2])
    overlap = corners.clamp_(min=0).prod(dim=2)  # (m, n)
    union = _areas(first)[:, None] + _areas(second) - overlap
    return torch.where(overlap > 0, overlap / union, overlap.new_zeros(1))


def match(iou: Tensor, *, negative_below: float, positive_from: float, rescue: bool) -> Matches:
    """Each candidate matched to the ground truth it overlaps most.

    iou: (m ground truths, n candidates). Between the two limits a candidate is ignored. rescue:
    also the candidates that overlap some ground truth most, however little, are positive (ties
    included); they keep the index of the ground truth they overlap most themselves.
    """
    count = iou.shape[1]
    if iou.numel() == 0:
        truth = torch.zeros(count, dtype=torch.int64, device=iou.device)
        return Matches(truth, torch.full_like(truth, NEGATIVE, dtype=torch.int8))
    best, truth = iou.max(dim=0)
    label = torch.full_like(truth, IGNORED, dtype=torch.int8)
    label[best < negative_below] = NEGATIVE
    label[best >= positive_from] = POSITIVE
    if rescue:
        closest = iou.max(dim=1, keepdim=True).values
        label[(iou == closest).any(dim=0)] = POSITIVE
    return Matches(truth, label)


def sample(
    positive: Tensor,
    negative: Tensor,
    *,
    budget: int,
    positive_share: float,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Up to ``budget`` indices: at most positive_share of them positive, the rest negative.

    positive, negative: (n,) bool. The order of the answer is random.
    """
    (positives,) = torch.nonzero(positive, as_tuple=True)
    (negatives,) = torch.nonzero(negative, as_tuple=True)
    positive_count = min(len(positives), int(budget * positive_share))
    negative_count = min(len(negatives), budget - positive_count)
    return (
        positives[_drawn(len(positives), positive_count, generator)],
        negatives[_drawn(len(negatives), negative_count, generator)],
    )


def _drawn(candidates: int, count: int, generator: torch.Generator) -> Tensor:
    order = torch.randperm(candidates, generator=generator, device=generator.device)
    return order[:count]


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
