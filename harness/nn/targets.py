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
    """Numbers that training adds to an Architecture; defaults are Detectron2's for FPN models."""

    rpn_pre_nms_per_level: int = 2000  # RPN.PRE_NMS_TOPK_TRAIN
    """Candidates kept on each level before NMS."""

    rpn_post_nms: int = 1000  # RPN.POST_NMS_TOPK_TRAIN
    """Proposals kept in total."""

    anchors_per_image: int = 256  # RPN.BATCH_SIZE_PER_IMAGE
    """Anchors of an image that the losses are computed on."""

    anchor_positive_share: float = 0.5  # RPN.POSITIVE_FRACTION
    """Share of them that may be positive."""

    anchor_negative_below: float = 0.3  # RPN.IOU_THRESHOLDS
    """IoU below which an anchor is background."""

    anchor_positive_from: float = 0.7  # RPN.IOU_THRESHOLDS
    """IoU from which an anchor is an object."""

    rois_per_image: int = 512  # ROI_HEADS.BATCH_SIZE_PER_IMAGE
    """Regions of an image that the losses of the heads are computed on."""

    roi_positive_share: float = 0.25  # ROI_HEADS.POSITIVE_FRACTION
    """Share of them that may be positive."""

    roi_positive_from: float = 0.5  # ROI_HEADS.IOU_THRESHOLDS
    """IoU from which a region is an object; below, it is background."""


class MaskTargets(Protocol):
    """The ground-truth masks of one image."""

    def whole(self, height_px: int, width_px: int) -> Tensor:
        """Return (g, height, width) uint8: each mask as a bitmap of the resized input."""
        ...

    def crop(self, boxes: Tensor, truth: Tensor, side: int) -> Tensor:
        """Return the ground truth of masks in the frame of boxes.

        Args:
            boxes: (n, 4), px of the resized input, on the CPU.
            truth: (n,) index of an object, on the CPU.
            side: Cells of a mask in each direction.

        Returns:
            (n, side, side) bool: mask ``truth[i]`` inside ``boxes[i]``, on the CPU.
        """
        ...


class Targets(NamedTuple):
    """Ground truth of one image."""

    boxes: Tensor
    """(g, 4) float32, px of the resized input."""

    classes: Tensor
    """(g,) int64."""

    masks: MaskTargets | None
    """Masks of the same g objects; None without masks."""

    generator: torch.Generator
    """Draws this image's anchors and regions, so that they do not depend on the batch."""

    keypoints: Tensor | None = None
    """(g, K, 3) float32 x, y in px of the resized input, and visibility; None without keypoints."""

    semantic: Tensor | None = None
    """(h, w) uint8 class of each pixel of the resized input, without padding: 0 for things, then
    each kind of stuff, 255 where nothing is known; None without a semantic head.
    """

    proposals: Tensor | None = None
    """(n, 4) float32 regions of the image, px of the resized input; None where the network proposes
    its own.
    """


#: A count of this process → the mean of that count over all processes. Losses are divided by it, so
#: that the mean of the processes' gradients is the gradient of one process with the whole batch.
MeanCount = Callable[[int], float]
