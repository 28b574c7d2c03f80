"""The five losses of Mask R-CNN, as in Detectron2's ``modeling``.

Keys are Detectron2's: loss_rpn_cls, loss_rpn_loc, loss_cls, loss_box_reg, loss_mask. Beside them
come the counts and rates Detectron2 logs, under its names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.nn.boxes import delta_targets
from harness.nn.matching import NEGATIVE, POSITIVE, match, pairwise_iou, sample
from harness.nn.rcnn import RCNN, Batch
from harness.nn.roi_heads import pool
from harness.nn.rpn import DELTA_WEIGHTS


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

    def crop(self, boxes: Tensor, index: Tensor, side: int) -> Tensor:
        """(n, side, side) bool: mask ``index[i]`` inside ``boxes[i]``, on boxes' device."""
        ...


class Targets(NamedTuple):
    """Ground truth of one image in px of the resized input.

    boxes (g, 4) float32 · classes (g,) int64 · masks of the same g objects, None without masks.
    """

    boxes: Tensor
    classes: Tensor
    masks: MaskTargets | None


class SampledRois(NamedTuple):
    """Regions of one image to train on.

    boxes (r, 4) · classes (r,) with background = K · truth (r,) index of the matched object.
    """

    boxes: Tensor
    classes: Tensor
    truth: Tensor


def losses(
    network: RCNN, batch: Batch, targets: Sequence[Targets], numbers: TrainingNumbers
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Losses (scalars that carry gradients) and statistics of one batch."""
    pyramid = network.backbone(batch.pixels)
    rpn = network.proposal_generator
    logits, deltas = rpn.rpn_head(pyramid)
    anchors = rpn.anchors(pyramid)
    found, statistics = rpn_losses(logits, deltas, anchors, targets, numbers)
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
    for part, numbers_of_part in (
        box_losses(network, pyramid, rois, targets),
        mask_losses(network, pyramid, rois, targets),
    ):
        found |= part
        statistics |= numbers_of_part
    return found, statistics


def rpn_losses(
    logits: Sequence[Tensor],
    deltas: Sequence[Tensor],
    anchors: Sequence[Tensor],
    targets: Sequence[Targets],
    numbers: TrainingNumbers,
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Objectness and localisation loss over sampled anchors of all levels."""
    every_anchor = torch.cat(list(anchors))  # (N, 4)
    every_logit = torch.cat(list(logits), dim=1).float()  # (B, N)
    every_delta = torch.cat(list(deltas), dim=1).float()  # (B, N, 4)
    classification = every_logit.new_zeros(())
    localisation = every_logit.new_zeros(())
    positives = negatives = 0
    for index, target in enumerate(targets):
        matches = match(
            pairwise_iou(target.boxes, every_anchor),
            negative_below=numbers.anchor_negative_below,
            positive_from=numbers.anchor_positive_from,
            rescue=True,
        )
        chosen, others = sample(
            matches.label == POSITIVE,
            matches.label == NEGATIVE,
            budget=numbers.anchors_per_image,
            positive_share=numbers.anchor_positive_share,
        )
        positives, negatives = positives + len(chosen), negatives + len(others)
        both = torch.cat((chosen, others))
        wanted = every_logit.new_zeros(len(both))
        wanted[: len(chosen)] = 1.0
        classification = classification + F.binary_cross_entropy_with_logits(
            every_logit[index, both], wanted, reduction="sum"
        )
        moves = delta_targets(
            every_anchor[chosen], target.boxes[matches.truth[chosen]], DELTA_WEIGHTS
        )
        localisation = localisation + (every_delta[index, chosen] - moves).abs().sum()
    divisor = numbers.anchors_per_image * len(targets)
    return (
        {"loss_rpn_cls": classification / divisor, "loss_rpn_loc": localisation / divisor},
        {
            "rpn/num_pos_anchors": positives / len(targets),
            "rpn/num_neg_anchors": negatives / len(targets),
        },
    )


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
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Classification over all sampled regions, box regression over the positive ones."""
    heads = network.roi_heads
    logits, deltas = heads.classify(pyramid, [one.boxes for one in rois])
    logits, deltas = logits.float(), deltas.float()
    classes = torch.cat([one.classes for one in rois])
    background = network.architecture.class_count
    positive = torch.nonzero(classes < background, as_tuple=True)[0]
    wanted = torch.cat(
        [
            target.boxes[one.truth] if len(target.boxes) else one.boxes
            for one, target in zip(rois, targets, strict=True)
        ]
    )[positive]
    sources = torch.cat([one.boxes for one in rois])[positive]
    moves = delta_targets(sources, wanted, network.architecture.box_delta_weights)
    own = deltas.view(len(deltas), -1, 4)[positive, classes[positive]]
    # Divided by all regions, not the positive ones: every region then weighs the same, however
    # many positives its image has (Detectron2 fast_rcnn.py, box_reg_loss).
    regression = (own - moves).abs().sum() / max(len(classes), 1)
    with torch.no_grad():
        predicted = logits.argmax(dim=1)
        right = predicted == classes
        missed = predicted[positive] == background
        statistics = {
            "fast_rcnn/cls_accuracy": _mean(right),
            "fast_rcnn/fg_cls_accuracy": _mean(right[positive]),
            "fast_rcnn/false_negative": _mean(missed),
            "roi_head/num_fg_samples": len(positive) / len(rois),
            "roi_head/num_bg_samples": (len(classes) - len(positive)) / len(rois),
        }
    classification = F.cross_entropy(logits, classes) if len(classes) else logits.sum() * 0.0
    return {"loss_cls": classification, "loss_box_reg": regression}, statistics


def mask_losses(
    network: RCNN,
    pyramid: Sequence[Tensor],
    rois: Sequence[SampledRois],
    targets: Sequence[Targets],
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Binary cross-entropy of the mask of each positive region's own class."""
    if not network.architecture.has_masks:
        return {}, {}
    background = network.architecture.class_count
    keep = [one.classes < background for one in rois]
    boxes = [one.boxes[kept] for one, kept in zip(rois, keep, strict=True)]
    classes = torch.cat([one.classes[kept] for one, kept in zip(rois, keep, strict=True)])
    head = network.roi_heads.mask_head
    if not len(classes):
        # Touch every parameter: a part of the graph that is missing on one process would leave
        # the others waiting for its gradient.
        return {"loss_mask": torch.stack([one.sum() for one in head.parameters()]).sum() * 0}, {}
    pooled = pool(pyramid, boxes, network.architecture.mask_pool_px)
    logits = head(pooled.to(head.predictor.weight.dtype)).float()
    logits = logits[torch.arange(len(classes), device=classes.device), classes]  # (R, M, M)
    wanted = torch.cat(
        [
            target.masks.crop(one.boxes[kept], one.truth[kept], logits.shape[-1])
            for one, kept, target in zip(rois, keep, targets, strict=True)
            if target.masks is not None and bool(kept.any())
        ]
    )
    loss = F.binary_cross_entropy_with_logits(logits, wanted.to(logits.dtype))
    with torch.no_grad():
        wrong = (logits > 0) != wanted
        statistics = {
            "mask_rcnn/accuracy": 1.0 - _mean(wrong),
            "mask_rcnn/false_positive": _mean(wrong[~wanted]),
            "mask_rcnn/false_negative": _mean(wrong[wanted]),
        }
    return {"loss_mask": loss}, statistics


def _mean(flags: Tensor) -> float:
    return float(flags.float().mean()) if flags.numel() else 0.0
