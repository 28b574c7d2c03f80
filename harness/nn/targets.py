"""What a training step is given, beside the network and the pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

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
