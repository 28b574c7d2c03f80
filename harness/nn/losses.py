"""A training step's forward half: from images and ground truth to the losses.

Keys are Detectron2's: loss_rpn_cls, loss_rpn_loc, loss_cls, loss_box_reg, loss_mask,
loss_keypoint, loss_sem_seg. Beside them come the counts and rates Detectron2 logs, under its names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.nn.boxes import delta_targets, nonempty, own_deltas
from harness.nn.dense import dense_losses
from harness.nn.panoptic import semantic_losses
from harness.nn.rcnn import RCNN, Batch
from harness.nn.roi_heads import Stage
from harness.nn.rpn import DELTA_WEIGHTS
from harness.nn.targets import (
    NEGATIVE,
    POSITIVE,
    Losses,
    MeanCount,
    Targets,
    TrainingNumbers,
    match,
    pairwise_iou,
    sample,
)


def rpn_losses(
    logits: Sequence[Tensor],
    deltas: Sequence[Tensor],
    anchors: Sequence[Tensor],
    targets: Sequence[Targets],
    numbers: TrainingNumbers,
) -> Losses:
    """Return objectness loss over sampled anchors, and localisation loss over the positive ones.

    Both are divided by the budget of anchors, whether it was used up or not.

    Args:
        logits: Per level (B, H·W·A).
        deltas: Per level (B, H·W·A, 4).
        anchors: Per level (H·W·A, 4), px of the resized input.
        targets: Ground truth, one an image.
        numbers: Limits and budgets.
    """
    every_anchor = torch.cat(list(anchors))  # (N, 4)
    every_logit = torch.cat(list(logits), dim=1).float()  # (B, N)
    every_delta = torch.cat(list(deltas), dim=1).float()  # (B, N, 4)
    objectness, wanted_objectness, moves, wanted_moves = [], [], [], []
    for index, target in enumerate(targets):
        positive, negative, truth = _sampled_anchors(every_anchor, target, numbers)
        objectness.append(every_logit[index, torch.cat((positive, negative))])
        wanted_objectness.append(torch.ones_like(positive, dtype=torch.float32))
        wanted_objectness.append(torch.zeros_like(negative, dtype=torch.float32))
        moves.append(every_delta[index, positive])
        wanted_moves.append(
            delta_targets(every_anchor[positive], target.boxes[truth], DELTA_WEIGHTS)
        )
    divisor = numbers.anchors_per_image * len(targets)
    classification = F.binary_cross_entropy_with_logits(
        torch.cat(objectness), torch.cat(wanted_objectness), reduction="sum"
    )
    localisation = (torch.cat(moves) - torch.cat(wanted_moves)).abs().sum()
    positives = sum(map(len, moves))
    counts = (positives, sum(map(len, objectness)) - positives)
    return (
        {"loss_rpn_cls": classification / divisor, "loss_rpn_loc": localisation / divisor},
        {
            f"rpn/num_{kind}_anchors": torch.tensor(count / len(targets))
            for kind, count in zip(("pos", "neg"), counts, strict=True)
        },
    )


@torch.no_grad()
def _sampled_anchors(
    anchors: Tensor, target: Targets, numbers: TrainingNumbers
) -> tuple[Tensor, Tensor, Tensor]:
    """Return positive (p,) and negative (q,) anchors, and the ground truth (p,) of the first.

    Anchors that reach over the border take part as well (RPN.BOUNDARY_THRESH −1).
    """
    matches = match(
        pairwise_iou(target.boxes, anchors),
        negative_below=numbers.anchor_negative_below,
        positive_from=numbers.anchor_positive_from,
        rescue=True,
    )
    positive, negative = sample(
        matches.label == POSITIVE,
        matches.label == NEGATIVE,
        budget=numbers.anchors_per_image,
        positive_share=numbers.anchor_positive_share,
        generator=target.generator,
    )
    return positive, negative, matches.truth[positive]


class SampledRois(NamedTuple):
    """Regions of one image to train on."""

    boxes: Tensor
    """(r, 4) float32, px of the resized input."""

    classes: Tensor
    """(r,) int64; the background is K."""

    truth: Tensor
    """(r,) int64, index of the matched object; without meaning for the background."""


def sample_rois(
    proposals: Tensor, target: Targets, class_count: int, numbers: TrainingNumbers
) -> SampledRois:
    """Return regions to train on: proposals and ground-truth boxes, matched and sampled.

    The ground truth is added because early proposals overlap no object enough to train on.

    Args:
        proposals: (n, 4), px of the resized input.
        target: Ground truth of the image.
        class_count: K, the class of the background.
        numbers: Limits and budgets.
    """
    boxes = torch.cat((proposals, target.boxes))  # (n + g, 4)
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
    chosen = torch.cat((positive, negative))  # (r,)
    classes = torch.full_like(chosen, class_count)
    classes[: len(positive)] = target.classes[matches.truth[positive]]
    return SampledRois(boxes[chosen], classes, matches.truth[chosen])


def box_losses(
    network: RCNN,
    pyramid: Sequence[Tensor],
    rois: Sequence[SampledRois],
    targets: Sequence[Targets],
    sizes: Sequence[tuple[int, int]],
    mean_count: MeanCount,
) -> Losses:
    """Return the losses of every stage of the box head; of a cascade their names have its number.

    A later stage trains on the boxes that the one before leaves, matched at a higher IoU, and
    the maps receive the mean of the stages' gradients (cascade_rcnn.py).

    Args:
        network: In training mode.
        pyramid: What regions are pooled from.
        rois: Sampled regions, one record an image.
        targets: Ground truth, one an image.
        sizes: (height, width) of each image before padding, px.
        mean_count: Mean of a count over all processes.
    """
    heads, numbers = network.roi_heads, network.architecture
    if not numbers.is_cascade:
        answer = heads.classify(pyramid, [one.boxes for one in rois])
        return stage_losses(network, answer, 0, rois, targets, mean_count)
    count = len(numbers.delta_weights)
    found: dict[str, Tensor] = {}
    statistics: dict[str, Tensor] = {}
    for stage in range(count):
        if stage:
            with torch.no_grad():
                boxes = heads.moved(answer, stage - 1, sizes)
                iou = numbers.cascade_ious[stage - 1]
                rois = [
                    _rematched(one[nonempty(one)], target, iou, numbers.class_count)
                    for one, target in zip(boxes, targets, strict=True)
                ]
        pooled = heads.pooled(pyramid, [one.boxes for one in rois], numbers.box_pool_px)
        pooled = _with_share_of_gradient(pooled, 1.0 / count)
        answer = Stage([one.boxes for one in rois], *heads.predicted(pooled, stage))
        part, counted = stage_losses(network, answer, stage, rois, targets, mean_count)
        found |= {f"{name}_stage{stage}": value for name, value in part.items()}
        for name, value in counted.items():
            # The first stage's samples are those of the heads as a whole, and named as such.
            first = stage == 0 and name.startswith("roi_head/")
            statistics[name if first else f"stage{stage}/{name}"] = value
    return found, statistics


def _rematched(boxes: Tensor, target: Targets, iou: float, background: int) -> SampledRois:
    """Return boxes of one image as regions to train on, all of them, with what they match."""
    matches = match(
        pairwise_iou(target.boxes, boxes), negative_below=iou, positive_from=iou, rescue=False
    )
    classes = torch.full_like(matches.truth, background)
    positive = matches.label == POSITIVE
    classes[positive] = target.classes[matches.truth[positive]]
    return SampledRois(boxes, classes, matches.truth)


def _with_share_of_gradient(values: Tensor, share: float) -> Tensor:
    """Return the same values; with a share of their gradient."""
    if values.requires_grad:
        values.register_hook(lambda gradient: gradient * share)
    return values


def stage_losses(
    network: RCNN,
    answer: Stage,
    stage: int,
    rois: Sequence[SampledRois],
    targets: Sequence[Targets],
    mean_count: MeanCount,
) -> Losses:
    """Return classification loss over all regions, and box regression over the positive ones.

    Both are divided by the number of all regions: every region then weighs the same, however many
    positive ones its image has (fast_rcnn.py, box_reg_loss).

    Args:
        network: In training mode.
        answer: Output of this stage of the box head.
        stage: Its number.
        rois: Regions, a record an image; as many targets.
        targets: Ground truth.
        mean_count: Mean of a count over all processes.
    """
    logits, deltas = answer.logits.float(), answer.deltas.float()  # (R, K + 1), (R, 4K)
    classes = torch.cat([one.classes for one in rois])  # (R,)
    numbers = network.architecture
    background, beta = numbers.class_count, numbers.box_smooth_l1_beta
    (positive,) = torch.nonzero(classes < background, as_tuple=True)
    sources = torch.cat([one.boxes for one in rois])[positive]
    wanted = torch.cat(
        [
            target.boxes[one.truth] if len(target.boxes) else one.boxes
            for one, target in zip(rois, targets, strict=True)
        ]
    )[positive]
    moves = delta_targets(sources, wanted, numbers.delta_weights[stage])  # (P, 4)
    own = own_deltas(deltas, positive, classes[positive])  # (P, 4), P positive
    divisor = max(mean_count(len(classes)), 1.0)
    found = {
        "loss_cls": F.cross_entropy(logits, classes, reduction="sum") / divisor,
        "loss_box_reg": _smooth_l1(own - moves, beta).sum() / divisor,
    }
    with torch.no_grad():
        predicted = logits.argmax(dim=1)  # (R,)
        statistics = {
            "fast_rcnn/cls_accuracy": _share(predicted == classes),
            "fast_rcnn/fg_cls_accuracy": _share((predicted == classes)[positive]),
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
    """Return binary cross-entropy of the mask of each positive region's own class.

    It is the mean over all cells of all these regions.
    """
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
    side = network.architecture.mask_pool_px
    pooled = network.roi_heads.pooled(pyramid, boxes, side)  # (P, C, S, S)
    logits = head.own_class_logits(pooled, classes).float()
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


def keypoint_losses(
    network: RCNN,
    pyramid: Sequence[Tensor],
    rois: Sequence[SampledRois],
    targets: Sequence[Targets],
    mean_count: MeanCount,
) -> Losses:
    """Return cross-entropy of where each labelled keypoint is, over the cells of its region.

    Only positive regions with a labelled keypoint inside take part; the loss is the mean over all
    labelled keypoints inside their region.
    """
    boxes, points, counts = [], [], []
    for one, target in zip(rois, targets, strict=True):
        assert target.keypoints is not None  # of a network with keypoints
        positive = one.classes < network.architecture.class_count
        own, wanted = one.boxes[positive], target.keypoints[one.truth[positive]]
        inside = (
            (wanted[..., :2] >= own[:, None, :2]) & (wanted[..., :2] <= own[:, None, 2:])
        ).all(dim=2)
        chosen = (inside & (wanted[..., 2] >= 1)).any(dim=1)
        boxes.append(own[chosen])
        points.append(wanted[chosen])
        counts += [int(chosen.sum())] if len(own) else []
    heads = network.roi_heads
    cells, valid = heat_targets(torch.cat(points), torch.cat(boxes), heads.heat_side)
    divisor = max(mean_count(int(valid.sum())), 1.0)
    statistics = {"keypoint_head/num_fg_samples": torch.tensor(sum(counts) / max(len(counts), 1))}
    if not bool(valid.any()):
        # As of masks: every parameter has a gradient on every process.
        parameters = heads.keypoint_head.parameters()
        nothing = torch.stack([one.sum() for one in parameters]).sum() * 0
        return {"loss_keypoint": nothing}, statistics
    heat = heads.keypoint_heat(pyramid, boxes).flatten(2)  # (R, K, M·M)
    loss = F.cross_entropy(heat[valid], cells[valid], reduction="sum")
    return {"loss_keypoint": loss / divisor}, statistics


def heat_targets(points: Tensor, boxes: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Return the cell of the heat that each keypoint is in.

    Args:
        points: (n, K, 3) x, y, visibility.
        boxes: (n, 4), of the frame of ``points``.
        side: M, cells of the heat in each direction.

    Returns:
        (n, K) int64 row · M + column, without meaning where not valid; (n, K) bool, whether a
        keypoint is labelled and inside its box.
    """
    corner, opposite = boxes[:, None, :2], boxes[:, None, 2:]
    places = ((points[..., :2] - corner) * (side / (opposite - corner))).floor().long()
    places = torch.where(points[..., :2] == opposite, side - 1, places)  # (n, K, 2)
    valid = ((places >= 0) & (places < side)).all(dim=2) & (points[..., 2] > 0)
    return places[..., 1] * side + places[..., 0], valid


def _smooth_l1(differences: Tensor, beta: float) -> Tensor:
    """Return absolute values that are quadratic below ``beta``, as fvcore's ``smooth_l1_loss``."""
    absolute = differences.abs()
    if beta == 0:
        return absolute
    return torch.where(absolute < beta, 0.5 * absolute**2 / beta, absolute - 0.5 * beta)


def _share(flags: Tensor) -> Tensor:
    return flags.float().sum() / max(flags.numel(), 1)


def losses(
    network: RCNN,
    batch: Batch,
    targets: Sequence[Targets],
    numbers: TrainingNumbers,
    mean_count: MeanCount = float,
) -> Losses:
    """Return all losses and statistics of one batch.

    Args:
        network: In training mode.
        batch: Normalised images.
        targets: Ground truth, one an image.
        numbers: Limits and budgets.
        mean_count: Mean of a count over all processes.
    """
    a = network.architecture
    pyramid = network.backbone(batch.pixels)
    if a.detector == "dense":
        return dense_losses(network.head, pyramid, targets, mean_count)
    proposals, proposing = _proposed(network, pyramid, batch, targets, numbers)
    if a.detector == "rpn":
        return proposing
    parts = [proposing]
    with torch.no_grad():
        rois = [
            sample_rois(one, target, a.class_count, numbers)
            for one, target in zip(proposals, targets, strict=True)
        ]
    parts.append(box_losses(network, pyramid, rois, targets, batch.sizes, mean_count))
    if a.has_masks:
        parts.append(mask_losses(network, pyramid, rois, targets, mean_count))
    if a.keypoint_count:
        parts.append(keypoint_losses(network, pyramid, rois, targets, mean_count))
    if a.is_panoptic:
        parts.append(semantic_losses(network.sem_seg_head(pyramid), targets, mean_count))
    found: dict[str, Tensor] = {}
    statistics: dict[str, Tensor] = {}
    for part, counted in parts:
        found |= part
        statistics |= counted
    return found, statistics


def _proposed(
    network: RCNN,
    pyramid: Sequence[Tensor],
    batch: Batch,
    targets: Sequence[Targets],
    numbers: TrainingNumbers,
) -> tuple[list[Tensor], Losses]:
    """Return the proposals of each image, (n, 4), and the losses of what proposes them."""
    if network.architecture.given_proposals:
        return [one.proposals for one in targets if one.proposals is not None], ({}, {})
    rpn = network.proposal_generator
    logits, deltas = rpn.rpn_head(pyramid)
    anchors = rpn.anchors(pyramid)
    part = rpn_losses(logits, deltas, anchors, targets, numbers)
    with torch.no_grad():
        proposals = rpn.select(
            logits,
            deltas,
            anchors,
            batch.sizes,
            pre_nms_per_level=numbers.rpn_pre_nms_per_level,
            post_nms=numbers.rpn_post_nms,
        )
    return proposals, part
