"""A network's decisions on one image made again from its numbers, each with what it was about.

A network returns boxes, scores and masks; which anchor a proposal came from, which candidate
suppressed another, or by how much a score passed the cut, it does not say. Here all of that is
worked out again from the same numbers with the same operators, so that two networks can be
compared decision by decision: anchors and pairs of an anchor and a class have the same number in
both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

from harness.core.architecture import Architecture
from harness.engines.network_outputs import Resized
from harness.engines.stages import stage_name
from harness.nn.boxes import apply_deltas, at_least_float32, clip, nonempty, pyramid_levels
from harness.nn.operators import batched_nms, in_one_call, moved_apart
from harness.nn.rcnn import RCNN
from harness.nn.roi_heads import Stage
from harness.nn.rpn import DELTA_WEIGHTS
from harness.nn.slots import SlotNetwork


@dataclass(frozen=True, slots=True)
class Choice:
    """Candidates that compete and the decisions among them: best of each group, NMS, best of all.

    Rows are candidates that passed the first cut, best first.
    """

    ids: Tensor
    """(n,) int64: numbers of the candidates, the same in both networks."""

    scores: Tensor
    """(n,) descending."""

    boxes: Tensor
    """(n, 4), px of the resized input, clipped."""

    groups: Tensor
    """(n,) int64: candidates of one group compete."""

    kept: Tensor
    """(n,) bool: survived NMS."""

    chosen: Tensor
    """(n,) bool: the best of these."""

    shifted: Tensor
    """(n, 4): boxes as NMS compares those of a group."""

    best: Tensor
    """(m,) int64: numbers of the chosen ones, in the order in which the network has them. Among
    equal scores it is not that of the rows.
    """


@dataclass(frozen=True, slots=True)
class Replay:
    """All numbers and decisions of one image."""

    named: dict[str, Tensor]
    """Stages by name, as the network computed them."""

    logits: Tensor
    """(N,) objectness of all N anchors."""

    boxes: Tensor
    """(N, 4) decoded boxes of all anchors."""

    anchor_levels: Tensor
    """(N,) level of each anchor."""

    proposals: Choice
    """The choice among anchors."""

    regions: Tensor
    """(P,) anchors of the chosen proposals, best first."""

    pooled: tuple[Tensor, ...]
    """(P, 4) boxes that each stage of the box head pooled; those of the first are proposals."""

    scores: Tensor
    """(P, K) of the chosen proposals."""

    moved: Tensor
    """(P, K, 4) boxes of each class of the chosen proposals."""

    detections: Choice
    """The choice among pairs of anchor and class, numbered anchor · K + class."""

    soft: Tensor | None
    """(D, M, M) masks of the chosen pairs; None without masks."""

    heat: Tensor | None = None
    """(D, K, M, M) keypoint heat of the chosen pairs; None without keypoints."""


class Proposed(NamedTuple):
    """What an image is on the maps, and the regions chosen there."""

    pyramid: list[Tensor]
    """The maps that regions are pooled from."""

    named: dict[str, Tensor]
    """The stages so far, by name."""

    logits: Tensor
    """(N,) objectness of all N anchors."""

    boxes: Tensor
    """(N, 4) decoded boxes of all anchors."""

    levels: Tensor
    """(N,) level of each anchor."""

    choice: Choice
    """The choice among them."""


@dataclass(frozen=True, slots=True)
class Follow:
    """Decisions that a replay takes over instead of making its own."""

    anchors: Tensor
    """(P,) anchors of the proposals."""

    pairs: Tensor
    """(D,) pairs of the detections."""


class Replayer:
    """Replays one network. slots: pools as it does; None as the eager path does."""

    def __init__(self, network: RCNN, slots: SlotNetwork | None = None) -> None:
        self.network = network
        self.slots = slots
        self._last: tuple[Resized, tuple[list[Tensor], list[Tensor], list[Tensor]]] | None = None

    @property
    def architecture(self) -> Architecture:
        """The architecture of the network."""
        return self.network.architecture

    @torch.inference_mode()
    def replay(self, image: Resized, follow: Follow | None = None) -> Replay:
        """Compute an image, and return its numbers and decisions.

        Args:
            image: Resized for the network.
            follow: Decisions of another network to follow; None to make its own.
        """
        network = self.network
        device = network.pixel_mean.device
        size = (image.pixels.shape[0], image.pixels.shape[1])
        found = self._proposed(image)
        regions = found.choice.best if follow is None else follow.anchors.to(device)
        pyramid = [at_least_float32(level) for level in found.pyramid]
        stages = self._classified(pyramid, found.boxes[regions], size, found.levels)
        scores = network.roi_heads.scores(stages)
        moved = self._moved(stages[-1], scores.shape[1], size)
        pairs = self._pairs(regions, scores, moved)
        chosen = pairs.best if follow is None else follow.pairs.to(device)
        named = dict(found.named)
        for number, (_, *answer) in enumerate(stages, start=1):
            names = (stage_name("box logits", number), stage_name("box deltas", number))
            named |= dict(zip(names, answer, strict=True))
        soft = self._masks(pyramid, regions, moved, chosen)
        heat = self._heat(pyramid, regions, moved, chosen)
        regional = {"mask probabilities": soft, "keypoint heat": heat}
        named |= {name: value for name, value in regional.items() if value is not None}
        return Replay(
            named=named,
            logits=found.logits,
            boxes=found.boxes,
            anchor_levels=found.levels,
            proposals=found.choice,
            regions=regions,
            pooled=tuple(one.boxes[0] for one in stages),
            scores=scores,
            moved=moved,
            detections=pairs,
            soft=soft,
            heat=heat,
        )

    def _proposed(self, image: Resized) -> Proposed:
        """Return the maps of an image, and the choice among its anchors."""
        size = (image.pixels.shape[0], image.pixels.shape[1])
        pyramid, logits, deltas = self._maps(image)
        rows = Rows.of(logits, deltas, self.network.proposal_generator.anchors(pyramid))
        flat = at_least_float32(rows.logits)
        boxes = clip(apply_deltas(rows.deltas, rows.anchors, DELTA_WEIGHTS), *size)
        named = self._named(pyramid) | {"rpn logits": flat, "rpn deltas": rows.deltas}
        choice = self._proposals(logits, flat, boxes, rows.levels)
        return Proposed(pyramid, named, flat, boxes, rows.levels, choice)

    def _maps(self, image: Resized) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Return maps, logits and deltas; kept for the next replay of the same image."""
        if self._last is not None and self._last[0] is image:
            return self._last[1]
        network = self.network
        pixels = torch.from_numpy(image.pixels).to(network.pixel_mean.device).permute(2, 0, 1)
        pyramid = network.backbone(network.batch([pixels]).pixels)
        found = (pyramid, *self._answered(pyramid))
        self._last = (image, found)
        return found

    def _named(self, pyramid: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the maps of one image by name."""
        named = zip(self.architecture.map_names, pyramid, strict=True)
        return {name: level[0] for name, level in named}

    def _answered(self, pyramid: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return the outputs of the head on the maps: logits and deltas, one a level."""
        answer: tuple[list[Tensor], list[Tensor]] = self.network.proposal_generator.rpn_head(
            pyramid
        )
        return answer

    def _proposals(
        self, by_level: Sequence[Tensor], logits: Tensor, boxes: Tensor, levels: Tensor
    ) -> Choice:
        rpn = self.network.proposal_generator
        picked, start = [], 0
        for one in by_level:
            # Of the same shape as in the network: among equal numbers, it decides who is taken.
            count = min(one.shape[1], rpn.pre_nms_per_level)
            picked.append(start + at_least_float32(one).topk(count, dim=1)[1][0])
            start += one.shape[1]
        ids = torch.cat(picked)
        ids = ids[nonempty(boxes[ids])]
        return choose(ids, logits[ids], boxes[ids], levels[ids], rpn.nms_iou, rpn.post_nms)

    def _pairs(self, regions: Tensor, scores: Tensor, moved: Tensor) -> Choice:
        numbers = self.network.architecture
        rows, classes = torch.nonzero(scores > numbers.score_threshold, as_tuple=True)
        return choose(
            regions[rows] * scores.shape[1] + classes,
            scores[rows, classes],
            moved[rows, classes],
            classes,
            numbers.box_nms_iou,
            numbers.max_detections,
        )

    def _classified(
        self, pyramid: Sequence[Tensor], boxes: Tensor, size: tuple[int, int], levels: Tensor
    ) -> list[Stage]:
        """Return the stages of the box head; ``levels`` (N,) of all anchors say how many slots
        there are.
        """
        heads = self.network.roi_heads
        if self.slots is None:
            return heads.refine(pyramid, [boxes], [size])
        numbers = self.network.architecture
        candidates = torch.bincount(levels).clamp(max=numbers.rpn_pre_nms_per_level).sum()
        slots = _filled(boxes, min(numbers.rpn_post_nms, int(candidates)))
        pooled = self.slots.pooled(pyramid, slots[None], numbers.box_pool_px)
        answer = (one[: len(boxes)] for one in heads.predicted(pooled, 0))
        return [Stage([boxes], *answer)]  # a cascade is not computed in slots

    def _moved(self, last: Stage, classes: int, size: tuple[int, int]) -> Tensor:
        """Return (P, K, 4): the box of each class of each proposal."""
        (boxes,) = last.boxes
        each = last.deltas.view(len(boxes), -1, 4)  # (P, K or 1, 4)
        spread = boxes[:, None].expand(-1, each.shape[1], -1)
        weights = self.network.architecture.delta_weights[-1]
        moved = apply_deltas(each.flatten(0, 1), spread.flatten(0, 1), weights)
        return clip(moved, *size).view(each.shape).expand(-1, classes, -1)

    def _masks(
        self, pyramid: Sequence[Tensor], regions: Tensor, moved: Tensor, pairs: Tensor
    ) -> Tensor | None:
        """Return (D, M, M) probabilities of the pairs."""
        network = self.network
        if not network.architecture.has_masks:
            return None
        rows, classes = rows_of(regions, pairs, moved.shape[1])
        boxes, heads = moved[rows, classes], network.roi_heads
        if self.slots is None:
            return heads.soft_masks(pyramid, [boxes], classes)
        numbers, count = network.architecture, len(boxes)
        boxes, classes = (_filled(one, numbers.max_detections) for one in (boxes, classes))
        pooled = self.slots.pooled(pyramid, boxes[None], numbers.mask_pool_px)
        return heads.mask_head.probabilities(pooled.to(heads.dtype), classes)[:count]

    def _heat(
        self, pyramid: Sequence[Tensor], regions: Tensor, moved: Tensor, pairs: Tensor
    ) -> Tensor | None:
        """Return (D, K, M, M) logits of the pairs."""
        if not self.network.architecture.keypoint_count:
            return None
        boxes = moved[rows_of(regions, pairs, moved.shape[1])]
        return self.network.roi_heads.keypoint_heat(pyramid, [boxes])


class Rows(NamedTuple):
    """What a head says of the anchors of all levels of one image, N in all."""

    logits: Tensor
    """(N,), or (N, K) of a dense head."""

    deltas: Tensor
    """(N, 4)."""

    anchors: Tensor
    """(N, 4)."""

    levels: Tensor
    """(N,) level of each."""

    @classmethod
    def of(
        cls, logits: Sequence[Tensor], deltas: Sequence[Tensor], anchors: Sequence[Tensor]
    ) -> Rows:
        """Return the levels one after the other."""
        counts = torch.tensor([len(one) for one in anchors])
        levels = torch.repeat_interleave(torch.arange(len(anchors)), counts)
        flat, moves = (torch.cat([one[0] for one in each]) for each in (logits, deltas))
        return cls(flat, moves, torch.cat(list(anchors)), levels.to(flat.device))


def choose(
    ids: Tensor, scores: Tensor, boxes: Tensor, groups: Tensor, threshold: float, most: int
) -> Choice:
    """Return the choice among candidates: NMS within groups, and the best of all.

    They come in the network's own order. Of equal scores, which reduced precisions have many of,
    it decides which one is the last to be taken.

    Args:
        ids: (n,) int64.
        scores: (n,).
        boxes: (n, 4), clipped.
        groups: (n,) int64.
        threshold: IoU above which a candidate is suppressed.
        most: Candidates chosen, at most.
    """
    survivors = batched_nms(boxes, scores, groups, threshold)
    best = survivors[:most]
    kept = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
    chosen = torch.zeros_like(kept)
    kept[survivors] = True
    chosen[best] = True
    shifted = moved_apart(boxes, groups) if len(boxes) and in_one_call(boxes) else boxes
    order = scores.sort(descending=True, stable=True)[1]
    return Choice(
        ids=ids[order],
        scores=scores[order],
        boxes=boxes[order],
        groups=groups[order],
        kept=kept[order],
        chosen=chosen[order],
        shifted=shifted[order],
        best=ids[best],
    )


def _filled(rows: Tensor, slots: int) -> Tensor:
    """Return (slots, …): the rows and zeros. A product of another height may round otherwise."""
    empty = rows.new_zeros((max(0, slots - len(rows)), *rows.shape[1:]))
    return torch.cat((rows, empty))


def rows_of(regions: Tensor, pairs: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Return, of pairs (D,), the row of each one's anchor among ``regions``, and its class."""
    places = torch.full((int(regions.max()) + 1 if len(regions) else 1,), -1, device=pairs.device)
    places[regions] = torch.arange(len(regions), device=pairs.device)
    return places[pairs // classes], pairs % classes


def sampling(boxes: Tensor, side: int, levels: tuple[int, ...]) -> Tensor:
    """Return (n, 3) int64: the level a box is pooled from, and its samples a cell down and across.

    Both jump where the size of the box passes a boundary, and what is pooled jumps with them.

    Args:
        boxes: (n, 4), px of the resized input.
        side: Cells of a pooled region in each direction.
        levels: That there are.
    """
    level = pyramid_levels(boxes.float(), levels[0], levels[-1])
    cells = (boxes[:, 2:] - boxes[:, :2]) / (2.0**level)[:, None] / side
    return torch.cat((level[:, None], cells.ceil().long()), dim=1)


def on_cpu(replay: Replay) -> Replay:
    """Return the same numbers in the host's memory."""
    moved = {}
    for one in fields(replay):
        value = getattr(replay, one.name)
        if isinstance(value, Choice):
            value = Choice(*(getattr(value, each.name).cpu() for each in fields(value)))
        elif isinstance(value, dict):
            value = {name: each.cpu() for name, each in value.items()}
        elif isinstance(value, tuple):
            value = tuple(each.cpu() for each in value)
        elif value is not None:
            value = value.cpu()
        moved[one.name] = value
    return Replay(**moved)
