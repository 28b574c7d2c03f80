"""The losses of a dense head (Detectron2 ``meta_arch/retinanet.py``)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from harness.nn.boxes import delta_targets
from harness.nn.dense import DELTA_WEIGHTS, DenseHead
from harness.nn.targets import (
    IGNORED,
    NEGATIVE,
    POSITIVE,
    Losses,
    MeanCount,
    Targets,
    match,
    pairwise_iou,
)

#: IoU below which an anchor is background, and from which it is an object (Base-RetinaNet.yaml,
#: RETINANET.IOU_THRESHOLDS).
NEGATIVE_BELOW = 0.4
POSITIVE_FROM = 0.5

#: RETINANET.FOCAL_LOSS_ALPHA and FOCAL_LOSS_GAMMA.
FOCAL_ALPHA = 0.25
FOCAL_GAMMA = 2.0

#: How much of the average number of positive anchors stays at each iteration.
MOMENTUM = 0.9


def dense_losses(
    head: DenseHead,
    pyramid: Sequence[Tensor],
    targets: Sequence[Targets],
    mean_count: MeanCount = float,
) -> Losses:
    """Return focal loss over all anchors that are not ignored, and L1 over the positive ones.

    Both are divided by a moving average of the number of positive anchors of a batch, which the
    head keeps; one batch alone may have hardly any.

    Args:
        head: Its average is moved where gradients are computed.
        pyramid: Its levels.
        targets: Ground truth, one an image.
        mean_count: Mean of a count over all processes.
    """
    logits, deltas = head(pyramid)
    every_logit = torch.cat(logits, dim=1).float()  # (B, N, K)
    every_delta = torch.cat(deltas, dim=1).float()  # (B, N, 4)
    anchors = torch.cat(head.anchors(pyramid))  # (N, 4)
    labels, wanted = [], []
    for target in targets:
        label, boxes = _labelled(anchors, target, every_logit.shape[-1])
        labels.append(label)
        wanted.append(boxes)
    label, goal = torch.stack(labels), torch.stack(wanted)  # (B, N), (B, N, 4)
    background = every_logit.shape[-1]
    positive = (label >= 0) & (label != background)
    count = int(positive.sum())
    normaliser = _moved(head, max(mean_count(count), 1.0))
    counted = label != IGNORED
    classes = F.one_hot(label[counted], background + 1)[:, :-1]  # the background has no output
    classification = sigmoid_focal_loss(
        every_logit[counted],
        classes.to(every_logit.dtype),
        alpha=FOCAL_ALPHA,
        gamma=FOCAL_GAMMA,
        reduction="sum",
    )
    sources = anchors.expand(len(targets), -1, -1)[positive]
    moves = delta_targets(sources, goal[positive], DELTA_WEIGHTS)
    localisation = (every_delta[positive] - moves).abs().sum()
    return (
        {"loss_cls": classification / normaliser, "loss_box_reg": localisation / normaliser},
        {"num_pos_anchors": torch.tensor(count / len(targets))},
    )


@torch.no_grad()
def _labelled(anchors: Tensor, target: Targets, class_count: int) -> tuple[Tensor, Tensor]:
    """Return the class of each anchor, K for the background or IGNORED, and its true box."""
    matches = match(
        pairwise_iou(target.boxes, anchors),
        negative_below=NEGATIVE_BELOW,
        positive_from=POSITIVE_FROM,
        rescue=True,
    )
    if not len(target.boxes):
        return torch.full_like(matches.truth, class_count), anchors
    label = target.classes[matches.truth]
    label[matches.label == NEGATIVE] = class_count
    label[(matches.label != NEGATIVE) & (matches.label != POSITIVE)] = IGNORED
    return label, target.boxes[matches.truth]


def _moved(head: DenseHead, count: float) -> float:
    """Return the average with this batch in it; it is kept where gradients are computed."""
    average = head.mean_positives * MOMENTUM + count * (1 - MOMENTUM)
    if torch.is_grad_enabled():
        head.mean_positives = average
    return average
