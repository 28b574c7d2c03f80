"""A training step's forward half: from images and ground truth to the five losses.

Keys are Detectron2's: loss_rpn_cls, loss_rpn_loc, loss_cls, loss_box_reg, loss_mask. Beside them
come the counts and rates Detectron2 logs, under its names.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.nn.rcnn import RCNN, Batch
from harness.nn.roi_losses import box_losses, mask_losses, sample_rois
from harness.nn.rpn_losses import rpn_losses
from harness.nn.targets import Losses, MeanCount, Targets, TrainingNumbers


def losses(
    network: RCNN,
    batch: Batch,
    targets: Sequence[Targets],
    numbers: TrainingNumbers,
    mean_count: MeanCount = float,
) -> Losses:
    """All losses and statistics of one batch."""
    pyramid = network.backbone(batch.pixels)
    rpn = network.proposal_generator
    logits, deltas = rpn.rpn_head(pyramid)
    anchors = rpn.anchors(pyramid)
    parts = [rpn_losses(logits, deltas, anchors, targets, numbers)]
    with torch.no_grad():
        proposals = rpn.select(
            logits,
            deltas,
            anchors,
            batch.sizes,
            pre_nms_per_level=numbers.rpn_pre_nms_per_level,
            post_nms=numbers.rpn_post_nms,
        )
        classes = network.architecture.class_count
        rois = [
            sample_rois(one, target, classes, numbers)
            for one, target in zip(proposals, targets, strict=True)
        ]
    parts.append(box_losses(network, pyramid, rois, targets, mean_count))
    if network.architecture.has_masks:
        parts.append(mask_losses(network, pyramid, rois, targets, mean_count))
    found: dict[str, Tensor] = {}
    statistics: dict[str, Tensor] = {}
    for part, counted in parts:
        found |= part
        statistics |= counted
    return found, statistics
