"""Losses of the box and mask heads (Detectron2 ``modeling/roi_heads``).

R regions of all images, K classes, M side of the predicted masks in cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.nn.boxes import delta_targets
from harness.nn.matching import NEGATIVE, POSITIVE, match, pairwise_iou, sample
from harness.nn.rcnn import RCNN
from harness.nn.roi_heads import pool
from harness.nn.targets import Losses, MeanCount, Targets, TrainingNumbers


class SampledRois(NamedTuple):
    """Regions of one image to train on.

    boxes (r, 4) · classes (r,) with background = K · truth (r,) index of the matched object.
    """

    boxes: Tensor
    classes: Tensor
    truth: Tensor


def sample_rois(
    proposals: Tensor, target: Targets, class_count: int, numbers: TrainingNumbers
) -> SampledRois:
    """Proposals and the ground-truth boxes themselves, matched and sampled.

    The ground truth is added because early proposals overlap no object enough to train on.
    """
    boxes = torch.cat((proposals, target.boxes))
    matches = match(
        pairwise_iou(target.boxes, boxes),
        negative_below=numbers.roi_positive_from,
        positive_from=numbers.roi_positive_from,
        rescue=False,
    )
    positive, negative = sample(
        matches.label == POSITIVE,
        matches.label == NEGATIVE,
        budget=numbers.rois_per_image,
        positive_share=numbers.roi_positive_share,
        generator=target.generator,
    )
    chosen = torch.cat((positive, negative))
    classes = torch.full_like(chosen, class_count)
    classes[: len(positive)] = target.classes[matches.truth[positive]]
    return SampledRois(boxes[chosen], classes, matches.truth[chosen])


def box_losses(
    network: RCNN,
    pyramid: Sequence[Tensor],
    rois: Sequence[SampledRois],
    targets: Sequence[Targets],
    mean_count: MeanCount,
) -> Losses:
    """Classification over all sampled regions, box regression over the positive ones.

    Both are divided by the number of all regions: every region then weighs the same, however many
    positive ones its image has (fast_rcnn.py, box_reg_loss).
    """
    heads = network.roi_heads
    logits, deltas = heads.classify(pyramid, [one.boxes for one in rois])
    logits, deltas = logits.float(), deltas.float()  # (R, K + 1), (R, 4K)
    classes = torch.cat([one.classes for one in rois])
    background = network.architecture.class_count
    (positive,) = torch.nonzero(classes < background, as_tuple=True)
    sources = torch.cat([one.boxes for one in rois])[positive]
    wanted = torch.cat(
        [
            target.boxes[one.truth] if len(target.boxes) else one.boxes
            for one, target in zip(rois, targets, strict=True)
        ]
    )[positive]
    moves = delta_targets(sources, wanted, network.architecture.box_delta_weights)
    own = deltas.view(len(deltas), -1, 4)[positive, classes[positive]]
    divisor = max(mean_count(len(classes)), 1.0)
    found = {
        "loss_cls": F.cross_entropy(logits, classes, reduction="sum") / divisor,
        "loss_box_reg": (own - moves).abs().sum() / divisor,
    }
    with torch.no_grad():
        predicted = logits.argmax(dim=1)
        right = predicted == classes
        statistics = {
            "fast_rcnn/cls_accuracy": _share(right),
            "fast_rcnn/fg_cls_accuracy": _share(right[positive]),
            "fast_rcnn/false_negative": _share(predicted[positive] == background),
            "roi_head/num_fg_samples": torch.tensor(len(positive) / len(rois)),
            "roi_head/num_bg_samples": torch.tensor((len(classes) - len(positive)) / len(rois)),
        }
    return found, statistics


def mask_losses(
    network: RCNN,
    pyramid: Sequence[Tensor],
    rois: Sequence[SampledRois],
    targets: Sequence[Targets],
    mean_count: MeanCount,
) -> Losses:
    """Binary cross-entropy of the mask of each positive region's own class, mean over its cells."""
    background = network.architecture.class_count
    keep = [one.classes < background for one in rois]
    boxes = [one.boxes[kept] for one, kept in zip(rois, keep, strict=True)]
    classes = torch.cat([one.classes[kept] for one, kept in zip(rois, keep, strict=True)])
    divisor = max(mean_count(len(classes)), 1.0)
    head = network.roi_heads.mask_head
    if not len(classes):
        # Touch every parameter: a part of the graph that is missing on one process would leave
        # the others waiting for its gradient.
        return {"loss_mask": torch.stack([one.sum() for one in head.parameters()]).sum() * 0}, {}
    pooled = pool(pyramid, boxes, network.architecture.mask_pool_px)
    logits = head.own_class_logits(pooled.to(head.predictor.weight.dtype), classes).float()
    wanted = torch.cat(
        [
            target.masks.crop(own, one.truth[kept], logits.shape[-1])
            for own, one, kept, target in zip(boxes, rois, keep, targets, strict=True)
            if target.masks is not None and len(own)
        ]
    )
    cells = logits.shape[-1] ** 2
    loss = F.binary_cross_entropy_with_logits(logits, wanted.to(logits.dtype), reduction="sum")
    with torch.no_grad():
        wrong = (logits > 0) != wanted
        statistics = {
            "mask_rcnn/accuracy": 1.0 - _share(wrong),
            "mask_rcnn/false_positive": _share(wrong[~wanted]),
            "mask_rcnn/false_negative": _share(wrong[wanted]),
        }
    return {"loss_mask": loss / (divisor * cells)}, statistics


def _share(flags: Tensor) -> Tensor:
    return flags.float().sum() / max(flags.numel(), 1)
