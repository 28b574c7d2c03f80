"""A training step's forward half: from images and ground truth to the losses.

Keys are Detectron2's: loss_rpn_cls, loss_rpn_loc, loss_cls, loss_box_reg, loss_mask,
loss_keypoint, loss_sem_seg. Beside them come the counts and rates Detectron2 logs, under its names.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.nn.boxes import delta_targets, nonempty, own_deltas
from harness.nn.dense import dense_losses
from harness.nn.panoptic import semantic_losses
from harness.nn.rcnn import RCNN, Batch
from harness.nn.roi_heads import Stage
from harness.nn.rpn import DELTA_WEIGHTS
from harness.nn.sampling import (
    SampledAnchors,
    SampledRois,
    fetched,
    positive_rows,
    rematched,
    sampled_anchors,
    sampled_rois,
)
from harness.nn.slot_regions import SlotProposals
from harness.nn.targets import Losses, MeanCount, Targets, TrainingNumbers


def rpn_losses(
    logits: Sequence[Tensor],
    deltas: Sequence[Tensor],
    anchors: Tensor,
    sampled: Sequence[SampledAnchors],
    targets: Sequence[Targets],
    budget: int,
) -> Losses:
    """Return objectness loss over sampled anchors, and localisation loss over the positive ones.

    Both are divided by the budget of anchors, whether it was used up or not.

    Args:
        logits: Per level (B, H·W·A).
        deltas: Per level (B, H·W·A, 4).
        anchors: (N, 4) of all levels, px of the resized input.
        sampled: Anchors to train on, one record an image.
        targets: Ground truth, one an image.
        budget: Anchors of an image that were to be sampled.
    """
    # All images in one row: its gradient is written once, and not once for each image.
    every_logit = torch.cat(list(logits), dim=1).float().flatten()  # (B·N,)
    every_delta = torch.cat(list(deltas), dim=1).float().flatten(0, 1)  # (B·N, 4)
    chosen, wanted, objects = _rows_of(sampled, len(anchors))
    classification = F.binary_cross_entropy_with_logits(
        every_logit[chosen], wanted, reduction="sum"
    )
    boxes = torch.cat(
        [target.boxes[one.truth] for one, target in zip(sampled, targets, strict=True)]
    )
    positive = torch.cat([one.positive for one in sampled])  # (P,)
    wanted_moves = delta_targets(anchors[positive], boxes, DELTA_WEIGHTS)  # (P, 4)
    localisation = (every_delta[objects] - wanted_moves).abs().sum()
    divisor = budget * len(targets)
    counts = (len(positive), len(chosen) - len(positive))
    return (
        {"loss_rpn_cls": classification / divisor, "loss_rpn_loc": localisation / divisor},
        {
            f"rpn/num_{kind}_anchors": torch.tensor(count / len(targets))
            for kind, count in zip(("pos", "neg"), counts, strict=True)
        },
    )


def _rows_of(sampled: Sequence[SampledAnchors], count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return where sampled anchors are in one row of those of all images, of ``count`` each.

    Returns:
        (S,) rows of all, an image's positive ones before its negative ones; (S,) float32, 1 for
        those and 0 for these; (P,) rows of the positive ones.
    """
    chosen, wanted, objects = [], [], []
    for begin, one in zip(range(0, count * len(sampled), count), sampled, strict=True):
        chosen += [one.positive + begin, one.negative + begin]
        wanted += [torch.ones_like(one.positive), torch.zeros_like(one.negative)]
        objects.append(one.positive + begin)
    return torch.cat(chosen), torch.cat(wanted).float(), torch.cat(objects)


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
                    rematched(one[nonempty(one)], target, iou, numbers.class_count)
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
    positive = positive_rows(rois)  # (P,)
    sources = torch.cat([one.boxes for one in rois])[positive]
    wanted = torch.cat(
        [
            target.boxes[one.truth] if len(target.boxes) else one.boxes
            for one, target in zip(rois, targets, strict=True)
        ]
    )[positive]
    moves = delta_targets(sources, wanted, numbers.delta_weights[stage])  # (P, 4)
    own = own_deltas(deltas, positive, classes[positive])  # (P, 4)
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


def drawn_masks(
    objects: Sequence[SampledRois], targets: Sequence[Targets], side: int
) -> Tensor | None:
    """Return (P, side, side) bool on the CPU: the mask of each object inside its region.

    The CPU draws them. On a GPU that takes no time where enough was launched before, and the
    regions have come down before that: a copy would wait for all that was launched.

    Args:
        objects: Per image regions that are not background, on the CPU.
        targets: Ground truth, one an image.
        side: Cells of a mask in each direction.

    Returns:
        None without objects.
    """
    drawn = [
        target.masks.crop(one.boxes, one.truth, side)
        for one, target in zip(objects, targets, strict=True)
        if target.masks is not None and len(one.boxes)
    ]
    return torch.cat(drawn) if drawn else None


def mask_losses(
    network: RCNN,
    pyramid: Sequence[Tensor],
    objects: Sequence[SampledRois],
    drawn: Tensor | None,
    mean_count: MeanCount,
) -> Losses:
    """Return binary cross-entropy of the mask of each object's own class.

    It is the mean over all cells of all their regions.

    Args:
        network: In training mode.
        pyramid: What regions are pooled from.
        objects: Per image regions that are not background.
        drawn: Of `drawn_masks`.
        mean_count: Mean of a count over all processes.
    """
    classes = torch.cat([one.classes for one in objects])
    divisor = max(mean_count(len(classes)), 1.0)
    head = network.roi_heads.mask_head
    if drawn is None:
        # Touch every parameter: a part of the graph that is missing on one process would leave
        # the others waiting for its gradient.
        return {"loss_mask": torch.stack([one.sum() for one in head.parameters()]).sum() * 0}, {}
    side = network.architecture.mask_pool_px
    pooled = network.roi_heads.pooled(pyramid, [one.boxes for one in objects], side)  # (P, C, S, S)
    logits = head.own_class_logits(pooled, classes).float()
    wanted = drawn.to(logits.device)
    cells = logits.shape[-1] ** 2
    loss = F.binary_cross_entropy_with_logits(logits, wanted.to(logits.dtype), reduction="sum")
    with torch.no_grad():
        wrong = (logits > 0) != wanted
        statistics = {
            "mask_rcnn/accuracy": 1.0 - _share(wrong),
            "mask_rcnn/false_positive": _share(wrong, of=~wanted),
            "mask_rcnn/false_negative": _share(wrong, of=wanted),
        }
    return {"loss_mask": loss / (divisor * cells)}, statistics


def keypoint_losses(
    network: RCNN,
    pyramid: Sequence[Tensor],
    objects: Sequence[SampledRois],
    targets: Sequence[Targets],
    mean_count: MeanCount,
) -> Losses:
    """Return cross-entropy of where each labelled keypoint is, over the cells of its region.

    Only regions with a labelled keypoint inside take part; the loss is the mean over all labelled
    keypoints inside their region.

    Args:
        network: In training mode.
        pyramid: What regions are pooled from.
        objects: Per image regions that are not background.
        targets: Ground truth, one an image.
        mean_count: Mean of a count over all processes.
    """
    boxes, points, counts = [], [], []
    for one, target in zip(objects, targets, strict=True):
        assert target.keypoints is not None  # of a network with keypoints
        own, wanted = one.boxes, target.keypoints[one.truth]
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


def _share(flags: Tensor, of: Tensor | None = None) -> Tensor:
    """Return the share of true flags, of all or of those of a mask; 0 of none."""
    if of is None:
        return flags.float().sum() / max(flags.numel(), 1)
    return (flags & of).float().sum() / of.float().sum().clamp(min=1)


def losses(
    network: RCNN,
    batch: Batch,
    targets: Sequence[Targets],
    numbers: TrainingNumbers,
    mean_count: MeanCount = float,
    in_slots: SlotProposals | None = None,
) -> Losses:
    """Return all losses and statistics of one batch.

    On a GPU the host waits for the device a fixed number of times, not once or more for each image.

    Args:
        network: In training mode.
        batch: Normalised images.
        targets: Ground truth, one an image.
        numbers: Limits and budgets.
        mean_count: Mean of a count over all processes.
        in_slots: Selects the proposals of all images at once; None for one image after the other.
    """
    a = network.architecture
    pyramid = network.backbone(batch.pixels)
    if a.detector == "dense":
        return dense_losses(network.head, pyramid, targets, mean_count)
    proposals, proposing = _proposed(network, pyramid, batch, targets, numbers, in_slots)
    if a.detector == "rpn":
        return proposing
    rois = sampled_rois(proposals, targets, a.class_count, numbers)
    objects = [one.objects for one in rois]
    on_cpu = fetched(objects) if a.has_masks else []
    parts = [proposing]
    parts.append(box_losses(network, pyramid, rois, targets, batch.sizes, mean_count))
    if a.has_masks:
        drawn = drawn_masks(on_cpu, targets, a.mask_side_px)
        parts.append(mask_losses(network, pyramid, objects, drawn, mean_count))
    if a.keypoint_count:
        parts.append(keypoint_losses(network, pyramid, objects, targets, mean_count))
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
    in_slots: SlotProposals | None,
) -> tuple[list[Tensor], Losses]:
    """Return the proposals of each image, (n, 4), and the losses of what proposes them.

    A network that only proposes regions is not asked for them: its losses are of anchors.
    """
    if network.architecture.given_proposals:
        return [one.proposals for one in targets if one.proposals is not None], ({}, {})
    rpn = network.proposal_generator
    logits, deltas = rpn.rpn_head(pyramid)
    anchors = rpn.anchors(pyramid)
    together = torch.cat(anchors)  # (N, 4)
    # After the layers were launched: a GPU computes them while the host launches the matching.
    sampled = sampled_anchors(together, targets, numbers)
    part = rpn_losses(logits, deltas, together, sampled, targets, numbers.anchors_per_image)
    if network.architecture.detector == "rpn":
        return [], part
    limits = {
        "pre_nms_per_level": numbers.rpn_pre_nms_per_level,
        "post_nms": numbers.rpn_post_nms,
    }
    with torch.no_grad():
        if in_slots is None:
            return rpn.select(logits, deltas, anchors, batch.sizes, **limits), part
        sizes = torch.tensor(batch.sizes, dtype=torch.float32, device=together.device)
        boxes, counts = in_slots(logits, deltas, pyramid, sizes, **limits)
    return [one[:count] for one, count in zip(boxes, counts.tolist(), strict=True)], part
