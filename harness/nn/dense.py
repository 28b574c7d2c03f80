"""A head that finds objects on every cell of a pyramid (Detectron2 ``meta_arch/retinanet.py``).

L pyramid levels, A anchors a cell, K classes, B images. Its losses are here, too.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.core.architecture import Architecture
from harness.nn.boxes import Anchored, apply_deltas, at_least_float32, cell_anchors, delta_targets
from harness.nn.convolution import Conv
from harness.nn.operators import batched_nms
from harness.nn.roi_heads import RawDetections
from harness.nn.sampling import IGNORED, NEGATIVE, match, pairwise_iou
from harness.nn.targets import Losses, MeanCount, Targets

#: Scales of dx, dy, dw, dh (RETINANET.BBOX_REG_WEIGHTS).
DELTA_WEIGHTS = (1.0, 1.0, 1.0, 1.0)

#: What the average number of positive anchors begins with (``RetinaNet.losses``).
MEAN_POSITIVES = 100.0

#: How far below the cut a logit may be without its score being computed: more than rounding moves.
SLACK = 1e-3


class DenseHead(Anchored):
    """Two towers of 3×3 convolutions, shared by all levels: one for classes, one for boxes.

    Attributes:
        exact: Whether it computes in the reference's own arithmetic.
        mean_positives: Moving average of the positive anchors of a batch, by which the losses of a
            training are divided.
    """

    def __init__(self, architecture: Architecture) -> None:
        scales, ratios = architecture.anchor_scales, architecture.anchor_ratios
        cells = (
            torch.cat([cell_anchors(size_px * scale, ratios) for scale in scales])
            for size_px in architecture.anchor_sizes_px
        )
        super().__init__(cells, architecture.strides_px)
        self.exact = False
        self.mean_positives = MEAN_POSITIVES
        self.architecture = architecture
        channels, anchors = architecture.fpn_channels, architecture.anchors_per_cell
        self.cls_subnet = _tower(architecture)
        self.bbox_subnet = _tower(architecture)
        self.cls_score = Conv(channels, anchors * architecture.class_count, 3, padding=1)
        self.bbox_pred = Conv(channels, anchors * 4, 3, padding=1)

    def forward(self, pyramid: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return per level logits (B, H·W·A, K) and deltas (B, H·W·A, 4), cells row by row."""
        logits, deltas = [], []
        for level in pyramid:
            scores = self.cls_score(_through(self.cls_subnet, level))  # (B, A·K, H, W)
            logits.append(_by_anchor(scores, self.architecture.class_count))
            moves = self.bbox_pred(_through(self.bbox_subnet, level))  # (B, A·4, H, W)
            deltas.append(_by_anchor(moves, 4))
        return logits, deltas

    def detect(
        self, logits: Sequence[Tensor], deltas: Sequence[Tensor], anchors: Sequence[Tensor]
    ) -> RawDetections:
        """Return the detections of one image: score cut, best of a level, class-wise NMS, best N.

        Boxes are not clipped before NMS, as in the reference.

        Args:
            logits: Per level (H·W·A, K).
            deltas: Per level (H·W·A, 4).
            anchors: Per level (H·W·A, 4).
        """
        boxes, scores, classes = [], [], []
        for level, moves, places in zip(logits, deltas, anchors, strict=True):
            rows, found, of_class = self.candidates(level)
            boxes.append(apply_deltas(moves[rows], places[rows], DELTA_WEIGHTS))
            scores.append(found)
            classes.append(of_class)
        every_box, every_score, every_class = map(torch.cat, (boxes, scores, classes))
        best = batched_nms(every_box, every_score, every_class, self.architecture.box_nms_iou)
        best = best[: self.architecture.max_detections]
        return RawDetections(every_box[best], every_score[best], every_class[best])

    def candidates(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the best pairs of an anchor and a class of one level.

        Args:
            logits: (H·W·A, K).

        Returns:
            Anchors (n,), scores (n,) 0…1, best first, and classes (n,).
        """
        threshold = self.architecture.score_threshold
        if self.exact:
            scores = at_least_float32(logits).sigmoid()
            passed = scores > threshold
            found, pairs = scores[passed], torch.nonzero(passed)
        else:
            # Few pass: the score of the others is not needed.
            pairs = torch.nonzero(logits > _logit(threshold) - SLACK)
            found = at_least_float32(logits[pairs[:, 0], pairs[:, 1]]).sigmoid()
            passed = found > threshold
            found, pairs = found[passed], pairs[passed]
        found, best = found.topk(min(len(found), self.architecture.dense_candidates_per_level))
        return pairs[best, 0], found, pairs[best, 1]


def mean_positives_of(network: nn.Module) -> float | None:
    """Return what a dense head remembers of a training; None of networks without one."""
    head = getattr(network, "head", None)
    return head.mean_positives if isinstance(head, DenseHead) else None


def remember_mean_positives(network: nn.Module, value: float | None) -> None:
    """Set what a dense head remembers of a training; nothing is done without a head or a value."""
    head = getattr(network, "head", None)
    if isinstance(head, DenseHead) and value is not None:
        head.mean_positives = value


def _tower(architecture: Architecture) -> nn.Sequential:
    """Return convolutions under the even numbers, as if a ReLU stood under each odd one."""
    channels = architecture.fpn_channels
    layers = [
        (str(2 * index), Conv(channels, channels, 3, padding=1))
        for index in range(architecture.dense_conv_count)
    ]
    return nn.Sequential(OrderedDict(layers))


def _through(tower: nn.Sequential, hidden: Tensor) -> Tensor:
    for layer in tower:
        hidden = layer(hidden, relu=True)  # (B, C, H, W)
    return hidden


def _by_anchor(values: Tensor, width: int) -> Tensor:
    """Return (B, A·width, H, W) as (B, H·W·A, width)."""
    batch, _, height, across = values.shape
    values = values.view(batch, -1, width, height, across).permute(0, 3, 4, 1, 2)
    return values.reshape(batch, -1, width)


def _logit(probability: float) -> float:
    if not 0 < probability < 1:
        return -math.inf if probability <= 0 else math.inf
    return math.log(probability / (1 - probability))


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
    from torchvision.ops import sigmoid_focal_loss  # a loss: inference does without the package

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
    label.masked_fill_(matches.label == NEGATIVE, class_count)
    label.masked_fill_(matches.label == IGNORED, IGNORED)
    return label, target.boxes[matches.truth]


def _moved(head: DenseHead, count: float) -> float:
    """Return the average with this batch in it; it is kept where gradients are computed."""
    average = head.mean_positives * MOMENTUM + count * (1 - MOMENTUM)
    if torch.is_grad_enabled():
        head.mean_positives = average
    return average
