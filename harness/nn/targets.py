"""What a training step is given, beside the network and the pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

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


#: Losses by name, scalars that carry gradients; and statistics by name, scalars for the log.
Losses = tuple[dict[str, Tensor], dict[str, Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingNumbers:
    """What training adds to an Architecture; the defaults are Detectron2's for FPN models."""

    rpn_pre_nms_per_level: int = 2000  # RPN.PRE_NMS_TOPK_TRAIN
    rpn_post_nms: int = 1000  # RPN.POST_NMS_TOPK_TRAIN
    anchors_per_image: int = 256  # RPN.BATCH_SIZE_PER_IMAGE
    anchor_positive_share: float = 0.5  # RPN.POSITIVE_FRACTION
    anchor_negative_below: float = 0.3  # RPN.IOU_THRESHOLDS
    anchor_positive_from: float = 0.7
    rois_per_image: int = 512  # ROI_HEADS.BATCH_SIZE_PER_IMAGE
    roi_positive_share: float = 0.25  # ROI_HEADS.POSITIVE_FRACTION
    roi_positive_from: float = 0.5  # ROI_HEADS.IOU_THRESHOLDS


class MaskTargets(Protocol):
    """The ground-truth masks of one image."""

    def crop(self, boxes: Tensor, truth: Tensor, side: int) -> Tensor:
        """(n, side, side) bool: mask ``truth[i]`` inside ``boxes[i]``, on the device of boxes."""
        ...


class Targets(NamedTuple):
    """Ground truth of one image in px of the resized input.

    boxes (g, 4) float32 · classes (g,) int64 · masks of the same g objects, None without masks ·
    generator draws this image's anchors and regions, so that they do not depend on the batch.
    """

    boxes: Tensor
    classes: Tensor
    masks: MaskTargets | None
    generator: torch.Generator


#: A count of this process → the mean of that count over all processes. Losses are divided by it, so
#: that the mean of the processes' gradients is the gradient of one process with the whole batch.
MeanCount = Callable[[int], float]
