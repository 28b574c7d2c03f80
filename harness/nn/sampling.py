"""Which anchors and regions a training step learns from: matched to objects, and drawn at random.

Of all images of a batch at once where the device has to be waited for: how many candidates there
are decides which are drawn, and a wait for each image leaves a GPU without work in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from harness.nn.targets import Targets, TrainingNumbers

IGNORED = -1
NEGATIVE = 0
POSITIVE = 1


class Matches(NamedTuple):
    """What each candidate is matched to."""

    truth: Tensor
    """(n,) int64 index of the best ground truth; without meaning where there is none."""

    label: Tensor
    """(n,) int8: POSITIVE, NEGATIVE or IGNORED."""


class Drawn(NamedTuple):
    """Candidates of one image that were drawn."""

    positive: Tensor
    """(p,) int64, indices of positive candidates."""

    negative: Tensor
    """(q,) int64, indices of negative ones."""


class SampledAnchors(NamedTuple):
    """Anchors of one image to train on."""

    positive: Tensor
    """(p,) int64, index of each positive anchor."""

    negative: Tensor
    """(q,) int64, index of each negative anchor."""

    truth: Tensor
    """(p,) int64, index of the object of each positive anchor."""


class SampledRois(NamedTuple):
    """Regions of one image to train on."""

    boxes: Tensor
    """(r, 4) float32, px of the resized input."""

    classes: Tensor
    """(r,) int64; the background is K."""

    truth: Tensor
    """(r,) int64, index of the matched object; without meaning for the background."""

    positive: Tensor
    """(p,) int64, the rows that are not background, in order."""

    @property
    def objects(self) -> SampledRois:
        """Return the regions that are not background."""
        rows = self.positive
        every = torch.arange(len(rows), device=rows.device)
        return SampledRois(self.boxes[rows], self.classes[rows], self.truth[rows], every)


def pairwise_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return (m, n) intersection over union of (m, 4) and (n, 4) boxes; 0 without overlap."""
    corners = torch.min(first[:, None, 2:], second[:, 2:])  # (m, n, 2)
    corners -= torch.max(first[:, None, :2], second[:, :2])
    overlap = corners.clamp_(min=0).prod(dim=2)  # (m, n)
    union = _areas(first)[:, None] + _areas(second) - overlap
    return torch.where(overlap > 0, overlap / union, overlap.new_zeros(1))


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def match(iou: Tensor, *, negative_below: float, positive_from: float, rescue: bool) -> Matches:
    """Match each candidate to the ground truth it overlaps most.

    Args:
        iou: (m ground truths, n candidates).
        negative_below: Less overlap than this is negative.
        positive_from: This overlap or more is positive; between the two a candidate is ignored.
        rescue: Whether the candidates that overlap some ground truth most, however little, are
            positive as well (ties included); they keep the index of the ground truth they overlap
            most themselves.
    """
    count = iou.shape[1]
    if iou.numel() == 0:
        truth = torch.zeros(count, dtype=torch.int64, device=iou.device)
        return Matches(truth, torch.full_like(truth, NEGATIVE, dtype=torch.int8))
    best, truth = iou.max(dim=0)  # (n,) each
    # Filled and not assigned: assigning a number where a mask says so waits for a GPU.
    label = torch.full_like(truth, IGNORED, dtype=torch.int8)
    label.masked_fill_(best < negative_below, NEGATIVE)
    label.masked_fill_(best >= positive_from, POSITIVE)
    if rescue:
        closest = iou.max(dim=1, keepdim=True).values  # (m, 1)
        label.masked_fill_((iou == closest).any(dim=0), POSITIVE)
    return Matches(truth, label)


def draw(
    labels: Sequence[Tensor],
    generators: Sequence[torch.Generator],
    *,
    budget: int,
    positive_share: float,
) -> list[Drawn]:
    """Return random candidates of each image. The device is waited for three times in all.

    Args:
        labels: Per image (n,), of `Matches`.
        generators: Draw the candidates of each image.
        budget: Number of both kinds of an image together, at most.
        positive_share: Share of the budget that may be positive; the rest is negative.
    """
    together = torch.cat(list(labels))
    starts = [0, *accumulate(map(len, labels))]
    borders = torch.tensor(starts, device=together.device)
    found = [torch.nonzero(together == kind)[:, 0] for kind in (POSITIVE, NEGATIVE)]
    places = torch.stack([torch.searchsorted(one, borders) for one in found]).tolist()
    drawn = []
    for index, generator in enumerate(generators):
        positives, negatives = (
            one[begins[index] : begins[index + 1]] - starts[index]
            for one, begins in zip(found, places, strict=True)
        )
        positive_count = min(len(positives), int(budget * positive_share))
        negative_count = min(len(negatives), budget - positive_count)
        drawn.append(
            Drawn(
                positives[_order(len(positives), positive_count, generator)],
                negatives[_order(len(negatives), negative_count, generator)],
            )
        )
    return drawn


def _order(candidates: int, count: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(candidates, generator=generator, device=generator.device)[:count]


@torch.no_grad()
def sampled_anchors(
    anchors: Tensor, targets: Sequence[Targets], numbers: TrainingNumbers
) -> list[SampledAnchors]:
    """Return the anchors of each image to train on.

    Anchors that reach over the border take part as well (RPN.BOUNDARY_THRESH −1).

    Args:
        anchors: (N, 4), px of the resized input.
        targets: Ground truth, one an image.
        numbers: Limits and budgets.
    """
    matches = [
        match(
            pairwise_iou(target.boxes, anchors),
            negative_below=numbers.anchor_negative_below,
            positive_from=numbers.anchor_positive_from,
            rescue=True,
        )
        for target in targets
    ]
    drawn = draw(
        [one.label for one in matches],
        [target.generator for target in targets],
        budget=numbers.anchors_per_image,
        positive_share=numbers.anchor_positive_share,
    )
    return [
        SampledAnchors(*one, matched.truth[one.positive])
        for one, matched in zip(drawn, matches, strict=True)
    ]


@torch.no_grad()
def sampled_rois(
    proposals: Sequence[Tensor],
    targets: Sequence[Targets],
    class_count: int,
    numbers: TrainingNumbers,
) -> list[SampledRois]:
    """Return regions of each image to train on: proposals and ground-truth boxes, the objects
    first.

    The ground truth is added because early proposals overlap no object enough to train on.

    Args:
        proposals: Per image (n, 4), px of the resized input.
        targets: Ground truth, one an image.
        class_count: K, the class of the background.
        numbers: Limits and budgets.
    """
    every = [
        torch.cat((one, target.boxes)) for one, target in zip(proposals, targets, strict=True)
    ]  # (n + g, 4) each
    matches = [
        match(
            pairwise_iou(target.boxes, boxes),
            negative_below=numbers.roi_positive_from,
            positive_from=numbers.roi_positive_from,
            rescue=False,
        )
        for target, boxes in zip(targets, every, strict=True)
    ]
    drawn = draw(
        [one.label for one in matches],
        [target.generator for target in targets],
        budget=numbers.rois_per_image,
        positive_share=numbers.roi_positive_share,
    )
    found = []
    for boxes, matched, target, one in zip(every, matches, targets, drawn, strict=True):
        chosen = torch.cat(one)  # (r,)
        truth = matched.truth[chosen]
        classes = torch.full_like(chosen, class_count)
        count = len(one.positive)
        classes[:count] = target.classes[truth[:count]]
        rows = torch.arange(count, device=chosen.device)
        found.append(SampledRois(boxes[chosen], classes, truth, rows))
    return found


def rematched(boxes: Tensor, target: Targets, iou: float, background: int) -> SampledRois:
    """Return boxes of one image as regions to train on, all of them, with what they match.

    Args:
        boxes: (r, 4), px of the resized input.
        target: Ground truth of the image.
        iou: From which a box is an object.
        background: K, the class of the others.
    """
    matches = match(
        pairwise_iou(target.boxes, boxes), negative_below=iou, positive_from=iou, rescue=False
    )
    classes = torch.full_like(matches.truth, background)
    (positive,) = torch.nonzero(matches.label == POSITIVE, as_tuple=True)
    classes[positive] = target.classes[matches.truth[positive]]
    return SampledRois(boxes, classes, matches.truth, positive)


def positive_rows(rois: Sequence[SampledRois]) -> Tensor:
    """Return (P,) int64, the rows of all images' regions that are not background, in order."""
    begins = accumulate((len(one.boxes) for one in rois), initial=0)
    return torch.cat([one.positive + begin for one, begin in zip(rois, begins, strict=False)])


def fetched(objects: Sequence[SampledRois]) -> list[SampledRois]:
    """Return ``objects`` of images on the CPU. The device is waited for twice in all."""
    counts = [len(one.boxes) for one in objects]
    boxes = torch.cat([one.boxes for one in objects]).cpu().split(counts)
    rest = torch.cat([torch.stack(one[1:]) for one in objects], dim=1).cpu()  # (3, P)
    parts = zip(boxes, rest.split(counts, dim=1), strict=True)
    return [SampledRois(own, *others.unbind()) for own, others in parts]
