"""The network as an exporter can trace it: one image in, one graph without a Python decision.

The layers are those of ``harness.nn``, weights included. What stands between them there decides in
Python how much there is to do (which levels have regions, which way of suppression is faster); here
it is written so that every decision is an operation of the graph. The numbers stay the same but for
the order of sums, and ``harness export`` compares them stage by stage.

R regions, K classes, S pooled side in cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import nms, roi_align

from harness.core.architecture import Architecture
from harness.core.engine import ExportFormat
from harness.core.errors import UsageError
from harness.nn.boxes import apply_deltas, clip, nonempty, pyramid_levels
from harness.nn.dense import DELTA_WEIGHTS as DENSE_DELTA_WEIGHTS
from harness.nn.fpn import STRIDES_PX
from harness.nn.rcnn import RCNN
from harness.nn.roi_heads import RawDetections, Stage
from harness.nn.rpn import DELTA_WEIGHTS


def stage_names(architecture: Architecture) -> tuple[str, ...]:
    """Names of a network's intermediate values; those of a cascade's later stages have a number."""
    maps = architecture.map_names
    if architecture.detector == "dense":
        return (
            *maps,
            *(f"class_logits_{name}" for name in maps),
            *(f"box_deltas_{name}" for name in maps),
        )
    rpn = [f"rpn_{what}_{name}" for what in ("logits", "deltas") for name in maps]
    if architecture.detector == "rpn":
        return (*maps, *rpn)
    later = range(2, len(architecture.delta_weights) + 1)
    answers = (
        *("box_logits", "box_deltas"),
        *(f"box_{what}_{number}" for number in later for what in ("logits", "deltas")),
    )
    if architecture.given_proposals:
        return (*maps, *answers)
    return (*maps, *rpn, "proposals", *answers)


def require_exportable(architecture: Architecture, kind: ExportFormat = "onnx") -> None:
    """Check that a network can be written with operators that the runtime of a format computes.

    Raises:
        UsageError: It cannot.
    """
    if kind == "onnx" and any(architecture.deformable_stages):
        raise UsageError(
            "a network with deformable convolutions is not exported: ONNX Runtime has no operator "
            "for them on a CPU",
            hint="choose --format pt2, or evaluate it with --engine native",
        )


def traceable(network: RCNN) -> nn.Module:
    """One image → its results and stages, for tracing."""
    if network.architecture.given_proposals:
        return TraceableGiven(network)
    kinds = {"dense": TraceableDense, "rpn": TraceableRPN, "rcnn": TraceableRCNN}
    return kinds[network.architecture.detector](network)


class Traceable(nn.Module):
    """What every network has: an image that is normalised and padded."""

    def __init__(self, network: RCNN) -> None:
        super().__init__()
        self.network = network

    def _padded(self, image: Tensor) -> Tensor:
        """(1, 3, H', W') float32, normalised, then padded with zeros where it has to be."""
        network = self.network
        pixels = (image.permute(2, 0, 1).float() - network.pixel_mean) / network.pixel_std
        height, width, _ = image.shape
        divisor = network.architecture.size_divisor_px
        if divisor == 1:
            return pixels[None]
        return F.pad(pixels, (0, -width % divisor, 0, -height % divisor))[None]

    def _best(
        self, boxes: Tensor, scores: Tensor, classes: Tensor, *, lowest: Tensor | None = None
    ) -> RawDetections:
        """The best of what suppresses nothing of its class; boxes of classes are moved apart.

        Args:
            boxes: (n, 4).
            scores: (n,).
            classes: (n,) int64.
            lowest: Coordinate that no box is below; None for 0.
        """
        numbers = self.network.architecture
        furthest = torch.cat((boxes.flatten(), boxes.new_zeros(1))).max()  # of no box at all: 0
        span = furthest + 1 if lowest is None else furthest - lowest + 1
        apart = boxes + (classes.to(boxes.dtype) * span)[:, None]
        best = nms(apart, scores, numbers.box_nms_iou)[: numbers.max_detections]
        best = at_most(numbers.max_detections, best)
        return RawDetections(boxes[best], scores[best], classes[best])


class TraceableDense(Traceable):
    """A network with a dense head."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Results, then stages, as in ``TraceableRCNN``.

        Args:
            image: (H, W, 3) uint8 in the network's channel order, resized.
        """
        network = self.network
        pyramid = network.backbone(self._padded(image))
        logits, deltas = network.head(pyramid)
        found = self._detections(logits, deltas, network.head.anchors(pyramid))
        finite = torch.stack([all_finite(one) for one in (*logits, *deltas)]).all()
        return (*found, finite, *pyramid, *logits, *deltas)

    def _detections(
        self, logits: Sequence[Tensor], deltas: Sequence[Tensor], anchors: Sequence[Tensor]
    ) -> RawDetections:
        """``DenseHead.detect``; boxes are not clipped, and may begin below 0."""
        numbers = self.network.architecture
        most = numbers.dense_candidates_per_level
        boxes, scores, classes = [], [], []
        for level, moves, places in zip(logits, deltas, anchors, strict=True):
            probable = level[0].sigmoid()  # (N, K)
            rows, of_class = torch.nonzero(probable > numbers.score_threshold, as_tuple=True)
            found = probable[rows, of_class]
            best = at_most(most, found.argsort(descending=True)[:most])
            rows = rows[best]
            boxes.append(apply_deltas(moves[0][rows], places[rows], DENSE_DELTA_WEIGHTS))
            scores.append(found[best])
            classes.append(of_class[best])
        every = torch.cat(boxes)
        lowest = torch.cat((every.flatten(), every.new_zeros(1))).min()
        return self._best(every, torch.cat(scores), torch.cat(classes), lowest=lowest)


class TraceableProposing(Traceable):
    """What every network that proposes regions has."""

    def _proposals(
        self,
        pyramid: Sequence[Tensor],
        logits: Sequence[Tensor],
        deltas: Sequence[Tensor],
        height: int,
        width: int,
    ) -> tuple[Tensor, Tensor]:
        """(R, 4) and their logits (R,), best first: ``RPN.scored`` with one suppression a level.

        Boxes without area are dropped last: their overlap with anything is zero, so they suppress
        nothing meanwhile.
        """
        numbers = self.network.architecture
        pre_nms = numbers.rpn_pre_nms_per_level
        boxes, scores = [], []
        for level_logits, level_deltas, anchors in zip(
            logits, deltas, self.network.proposal_generator.anchors(pyramid), strict=True
        ):
            count = torch.sym_min(level_logits.shape[1], pre_nms)  # type: ignore[no-untyped-call]
            best, where = level_logits[0].topk(count)
            moved = apply_deltas(level_deltas[0][where], anchors[where], DELTA_WEIGHTS)
            moved = clip(moved, height, width)
            kept = at_most(pre_nms, nms(moved, best, numbers.rpn_nms_iou))
            boxes.append(moved[kept])
            scores.append(best[kept])
        candidates, objectness = torch.cat(boxes), torch.cat(scores)
        (full,) = torch.nonzero(nonempty(candidates), as_tuple=True)
        full = at_most(pre_nms * len(boxes), full)
        candidates, objectness = candidates[full], objectness[full]
        best = objectness.argsort(descending=True)[: numbers.rpn_post_nms]
        best = at_most(numbers.rpn_post_nms, best)
        return candidates[best], objectness[best]


class TraceableRPN(TraceableProposing):
    """A network that proposes regions, and does not say what is in them."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Results, then stages, as in ``TraceableRCNN``; scores are those of an object, of class 0.

        Args:
            image: (H, W, 3) uint8 in the network's channel order, resized.
        """
        network = self.network
        height, width, _ = image.shape
        pyramid = network.backbone(self._padded(image))
        logits, deltas = network.proposal_generator.rpn_head(pyramid)
        boxes, objectness = self._proposals(pyramid, logits, deltas, height, width)
        finite = torch.stack([all_finite(one) for one in (*logits, *deltas)]).all()
        classes = torch.zeros_like(objectness, dtype=torch.int64)
        return (boxes, objectness.sigmoid(), classes, finite, *pyramid, *logits, *deltas)


class TraceableRCNN(TraceableProposing):
    """A network with heads on proposed regions."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Results, then stages.

        Args:
            image: (H, W, 3) uint8 in the network's channel order, resized.

        Returns:
            boxes (n, 4) float32 in px of ``image``, best score first · scores (n,) float32 ·
            classes (n,) int64 · finite () bool, false if any output of the network was NaN or
            infinite: then the rest is invalid · masks (n, M, M) float32 probabilities in the frame
            of each box · keypoint_heat (n, P, M, M) float32 logits in that frame · semantic_logits
            (C, H' / 4, W' / 4) float32 of the padded ``image``.
        """
        network = self.network
        height, width, _ = image.shape
        pyramid = network.backbone(self._padded(image))
        logits, deltas = network.proposal_generator.rpn_head(pyramid)
        proposals, _ = self._proposals(pyramid, logits, deltas, height, width)
        semantic = (network.sem_seg_head(pyramid)[0],) if network.architecture.is_panoptic else ()
        results, numbers = self._found(pyramid, proposals, height, width, (*logits, *semantic))
        return (*results, *semantic, *pyramid, *logits, *deltas, proposals, *numbers)

    def _found(
        self,
        pyramid: Sequence[Tensor],
        proposals: Tensor,
        height: int,
        width: int,
        others: Sequence[Tensor],
    ) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        """Results of the heads on regions, and what they are made of.

        Args:
            pyramid: What regions are pooled from.
            proposals: (R, 4), px of ``image``.
            height: Height of ``image``.
            width: Width of ``image``.
            others: What has to be finite, too.

        Returns:
            Boxes, scores, classes, finite, masks and heat; logits and deltas of each stage.
        """
        answers = self._answers(pyramid, proposals, height, width)
        found = self._detections(answers, height, width)
        numbers = [one for answer in answers for one in answer[1:]]
        finite = torch.stack([all_finite(one) for one in (*others, *numbers)]).all()
        recipe = self.network.architecture
        masks = (self._masks(pyramid, found),) if recipe.has_masks else ()
        heat = (self._heat(pyramid, found),) if recipe.keypoint_count else ()
        return (*found, finite, *masks, *heat), numbers

    def _answers(
        self, pyramid: Sequence[Tensor], proposals: Tensor, height: int, width: int
    ) -> list[Stage]:
        """The outputs of each stage of the box head: ``RoIHeads.refine``."""
        heads, numbers = self.network.roi_heads, self.network.architecture
        answers: list[Stage] = []
        boxes = proposals
        for stage in range(len(numbers.delta_weights)):
            if answers:
                boxes = apply_deltas(answers[-1].deltas, boxes, numbers.delta_weights[stage - 1])
                boxes = clip(boxes, height, width)
            pooled, order = self._pooled(pyramid, boxes, numbers.box_pool_px, numbers.rpn_post_nms)
            logits, deltas = heads.predicted(pooled, stage)
            answers.append(Stage([boxes], logits[order], deltas[order]))
        return answers

    def _detections(self, answers: Sequence[Stage], height: int, width: int) -> RawDetections:
        """``RoIHeads.detect``; classes are kept apart by moving their boxes apart, as there."""
        numbers = self.network.architecture
        (pooled,), _, deltas = answers[-1]
        scores = self.network.roi_heads.scores(answers)  # (R, K)
        regions, classes = torch.nonzero(scores > numbers.score_threshold, as_tuple=True)
        regions = at_most(numbers.rpn_post_nms * numbers.class_count, regions)
        kept_scores = scores[regions, classes]
        if numbers.is_cascade:
            kept_deltas = deltas[regions]
        else:
            kept_deltas = deltas.view(-1, numbers.class_count, 4)[regions, classes]
        boxes = apply_deltas(kept_deltas, pooled[regions], numbers.delta_weights[-1])
        boxes = clip(boxes, height, width)
        return self._best(boxes, kept_scores, classes)

    def _masks(self, pyramid: Sequence[Tensor], found: RawDetections) -> Tensor:
        """(n, M, M) float32: ``RoIHeads.masks``."""
        numbers = self.network.architecture
        pooled, order = self._pooled(
            pyramid, found.boxes, numbers.mask_pool_px, numbers.max_detections
        )
        mask_head = self.network.roi_heads.mask_head
        return mask_head.probabilities(pooled[order], found.classes)

    def _heat(self, pyramid: Sequence[Tensor], found: RawDetections) -> Tensor:
        """(n, P, M, M) float32: ``RoIHeads.keypoint_heat``."""
        numbers = self.network.architecture
        pooled, order = self._pooled(
            pyramid, found.boxes, numbers.keypoint_pool_px, numbers.max_detections
        )
        heat: Tensor = self.network.roi_heads.keypoint_head(pooled[order])
        return heat

    def _pooled(
        self, pyramid: Sequence[Tensor], boxes: Tensor, side: int, most: int
    ) -> tuple[Tensor, Tensor]:
        """(R, C, S, S), level by level, and the order (R,) that puts the rows back.

        With C4 the regions have gone through res5.

        Args:
            pyramid: What regions are pooled from.
            boxes: (R, 4), px of ``image``.
            side: Cells of a pooled region in each direction.
            most: Boxes that there can be.
        """
        numbers = self.network.architecture
        if len(numbers.pooled_levels) > 1:
            return _pooled_by_level(pyramid, boxes, side, most)
        rois = torch.cat((torch.zeros_like(boxes[:, :1]), boxes), dim=1)  # all of image 0
        stride = numbers.strides_px[0]
        # sampling_ratio 0 is what −1 means, without the exporter's warning about it.
        pooled = roi_align(pyramid[0], rois, side, 1 / stride, sampling_ratio=0, aligned=True)
        if numbers.neck == "c4":
            pooled = self.network.roi_heads.res5(pooled)
        return pooled, torch.arange(boxes.shape[0])


class TraceableGiven(TraceableRCNN):
    """A network whose regions come with the image."""

    def forward(self, image: Tensor, proposals: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """Results, then stages, as in ``TraceableRCNN``.

        Args:
            image: (H, W, 3) uint8 in the network's channel order, resized.
            proposals: (R, 4) float32, px of ``image``, inside of it and none empty.
        """
        height, width, _ = image.shape
        pyramid = self.network.backbone(self._padded(image))
        results, numbers = self._found(pyramid, proposals, height, width, ())
        return (*results, *pyramid, *numbers)


def _pooled_by_level(
    pyramid: Sequence[Tensor], boxes: Tensor, side: int, most: int
) -> tuple[Tensor, Tensor]:
    """Regions of a pyramid, level by level, and the order that puts the rows back."""
    levels = pyramid_levels(boxes)
    parts, places = [], []
    for number, (features, stride) in enumerate(
        zip(pyramid[:4], STRIDES_PX[:4], strict=True), start=2
    ):
        (where,) = torch.nonzero(levels == number, as_tuple=True)
        own = boxes[at_most(most, where)]
        rois = torch.cat((torch.zeros_like(own[:, :1]), own), dim=1)  # all of image 0
        # sampling_ratio 0 is what −1 means, without the exporter's warning about it.
        parts.append(roi_align(features, rois, side, 1 / stride, sampling_ratio=0, aligned=True))
        places.append(where)
    return torch.cat(parts), torch.cat(places).argsort()


def at_most(most: int, tensor: Tensor) -> Tensor:
    """The tensor, known to the exporter to have no more rows than ``most``.

    It would work out some bound by itself, and torch 2.11 one that no ONNX file can hold.
    """
    torch._check(tensor.shape[0] <= most)  # type: ignore[no-untyped-call]
    return tensor


def all_finite(tensor: Tensor) -> Tensor:
    """() bool: whether no number is NaN or infinite."""
    return torch.isfinite(tensor).all()
