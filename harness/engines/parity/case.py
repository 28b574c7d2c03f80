"""One image replayed by a fast network, by the reference, and by float64: what differs, and why.

This is the case of Faster and Mask R-CNN; ``engines.parity.rounding_cases`` has the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from harness.core.architecture import Architecture
from harness.core.detections import Detections
from harness.engines.network_outputs import Resized
from harness.engines.parity.answers import Expected, is_as_expected
from harness.engines.parity.replay import Follow, Replay, Replayer, on_cpu, rows_of, sampling
from harness.engines.parity.tracing import (
    APART,
    Decision,
    Heated,
    Measured,
    Side,
    Traced,
    Tracer,
    differing,
    finite,
    keypoints_apart,
    largest,
    no_jump,
    pair_side,
    side_of,
    softmax_bars,
)
from harness.measure.agreement import BOX_BAR_PX, SCORE_BAR
from harness.nn.boxes import clip, nonempty
from harness.nn.masks import sampled

#: Stages with a row a proposal (0) or a detection (1), of which only the smooth ones are measured,
#: by the first word of their names.
SELECTED = {"box": 0, "mask": 1, "keypoint": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A detection that differs between the two networks, and the decision behind it."""

    image_id: int
    """Id of the image."""

    what: str
    """``only ours``, ``only the reference``, ``numbers``, ``mask``, ``keypoints``, ``not as
    replayed``, ``pixels``, whose class differs: all of an image in one row, or ``proposal``, of
    which only those without a decision are in the list.
    """

    class_index: int
    """Class of the detection; 0 of an image as a whole, and of a proposal."""

    score: float | None
    """Score of the detection; None where it is not finite, of an image as a whole, and of a
    proposal.
    """

    decision: Decision | None
    """What rounding tipped; None when there is no such decision: a fault."""


@dataclass(frozen=True, slots=True)
class Case:
    """One image replayed by both networks, and by float64 along the decisions of each."""

    replayer: ClassVar[type[Replayer]] = Replayer
    """What replays a network of this kind."""

    image: Resized
    """The image."""
    ours: Replay
    """Replay of the fast network."""
    reference: Replay
    """Replay of the reference."""
    our_truth: Replay
    """Replay of float64 along the fast network's decisions."""
    their_truth: Replay
    """Replay of float64 along the reference's decisions."""
    architecture: Architecture
    """The network."""

    @classmethod
    def of(cls, image: Resized, fast: Replayer, reference: Replayer, truth: Replayer) -> Case:
        """Return the image replayed four times."""
        ours, theirs = on_cpu(fast.replay(image)), on_cpu(reference.replay(image))
        along = [
            on_cpu(truth.replay(image, Follow(one.regions, one.detections.best)))
            for one in (ours, theirs)
        ]
        return cls(image, ours, theirs, along[0], along[1], truth.architecture)

    def measure(self, measured: Measured) -> None:
        """Add the distances of this image; rows whose pooling jumped measure no rounding."""
        pairs = ((self.ours, self.our_truth), (self.reference, self.their_truth))
        smooth = [self._smooth(*pair) for pair in pairs]
        for stage in self.reference.named:
            rows = SELECTED.get(stage.partition(" ")[0])
            values = []
            for (one, true), masks in zip(pairs, smooth, strict=True):
                pick = slice(None) if rows is None else masks[rows]
                values.append((one.named[stage][pick], true.named[stage][pick]))
            measured.add(stage, values)

    def _smooth(self, one: Replay, true: Replay) -> tuple[Tensor, Tensor]:
        """Return proposals, and detections, that both replays pool from the same samples.

        Where nothing is pooled, all of them are.
        """
        numbers = self.architecture
        regions = torch.ones(len(one.regions), dtype=torch.bool)
        if not one.pooled:
            return regions, torch.ones(len(one.detections.best), dtype=torch.bool)
        for mine, exact in zip(one.pooled, true.pooled, strict=True):
            regions &= ~self._jumped(mine, exact, numbers.box_pool_px)
        rows, classes = rows_of(one.regions, one.detections.best, one.scores.shape[1])
        boxes = (one.moved[rows, classes], true.moved[rows, classes])
        smooth = regions[rows] & ~self._jumped(*boxes, numbers.mask_pool_px)
        return regions, smooth & ~self._jumped(*boxes, numbers.keypoint_pool_px)

    def differences(self) -> list[Difference]:
        """Return every detection that differs between the two."""
        pairs = self._traced()
        found = self._proposal_differences(pairs.anchors)
        for one, is_ours in differing(pairs.first, pairs.second):
            here, there = (pairs.first, pairs.second) if is_ours else (pairs.second, pairs.first)
            what = "only ours" if is_ours else "only the reference"
            found.append(
                self.difference(one, what, pairs.tracer.why(one, here, there, first=is_ours))
            )
        for one in sorted(pairs.first.chosen & pairs.second.chosen):
            score_off = abs(pairs.first.score(one) - pairs.second.score(one))
            moved = largest(pairs.first.box(one) - pairs.second.box(one))
            if score_off > pairs.tracer.score_rounding(one) or moved > pairs.tracer.box_rounding:
                found.append(self.difference(one, "numbers", pairs.tracer.jumps(one)))
        return found + self._mask_differences(pairs) + self._keypoint_differences(pairs)

    def _proposal_differences(self, anchors: Traced | None) -> list[Difference]:
        """Return every proposal that differs and should not; there may be no detection of it."""
        if anchors is None:
            return []
        tracer, first, second = anchors.tracer, anchors.first, anchors.second
        count = 0
        for one, is_ours in differing(first, second):
            sides = (first, second) if is_ours else (second, first)
            count += tracer.why(one, *sides, first=is_ours) is None
        common = torch.tensor(sorted(first.chosen & second.chosen), dtype=torch.int64)
        moved = (self.ours.boxes[common] - self.reference.boxes[common]).abs().amax(dim=1)
        off = (self.ours.logits[common] - self.reference.logits[common]).abs()
        apart = (moved > tracer.box_rounding) | (off > tracer.score_rounding(0))
        return [self.difference(None, "proposal", None)] * (count + int(apart.sum()))

    def _traced(self) -> Traced:
        return self._pair_tracer(self._anchor_tracer())

    def _anchor_tracer(self) -> Traced:
        numbers, ours, theirs, true = (
            self.architecture,
            self.ours,
            self.reference,
            self.their_truth,
        )
        candidates = theirs.proposals.ids
        logit_off = APART * largest(theirs.logits - true.logits)
        box_off = APART * largest(theirs.boxes[candidates] - true.boxes[candidates])
        first, second = (
            side_of(one.proposals, _item(one.logits), one.boxes.__getitem__)
            for one in (ours, theirs)
        )
        cuts = {id(side): _cuts(one, numbers) for side, one in ((first, ours), (second, theirs))}
        levels = theirs.anchor_levels.tolist()

        def missing(anchor: int, here: Side, there: Side) -> Decision | None:
            moved = largest(here.box(anchor) - there.box(anchor))
            if not bool(nonempty(there.box(anchor)[None])):
                empty = Decision(kind="empty box", margin=moved, rounding=box_off)
                return empty if moved <= box_off else None
            margin = cuts[id(there)][levels[anchor]] - there.score(anchor)
            above = here.score(anchor) - cuts[id(here)][levels[anchor]]
            near = abs(here.score(anchor) - there.score(anchor)) <= logit_off
            if not near or margin > 2 * logit_off or min(margin, above) < 0:
                return None
            return Decision(kind="score at its cut", margin=margin, rounding=logit_off)

        tracer = Tracer(
            numbers.rpn_nms_iou,
            numbers.rpn_post_nms,
            lambda _: logit_off,
            box_off,
            no_jump,
            missing,
        )
        return Traced(tracer, first, second)

    def _pair_tracer(self, anchors: Traced) -> Traced:
        numbers, theirs, true = self.architecture, self.reference, self.their_truth
        smooth = self._smooth(theirs, true)[0]
        score_off = self._score_bars(smooth)
        moved_off = APART * largest((theirs.moved - true.moved)[smooth])
        classes = theirs.scores.shape[1]
        first, second = (pair_side(one) for one in (self.ours, theirs))

        bars = self._bars(anchors.tracer.box_rounding)
        cut = float(np.float32(numbers.score_threshold))  # as scores are compared with it

        def jumps(pair: int) -> Decision | None:
            for number, bar in enumerate(bars):
                boxes = [_pooled_box(one, pair // classes, number) for one in (self.ours, theirs)]
                found = self._boundary(boxes[0], boxes[1], numbers.box_pool_px, bar)
                if found is not None:
                    return found
            return None

        def missing(pair: int, here: Side, there: Side) -> Decision | None:
            is_ours = here is first
            near, far = (
                (anchors.first, anchors.second) if is_ours else (anchors.second, anchors.first)
            )
            if pair // classes not in far.chosen:
                return anchors.tracer.why(pair // classes, near, far, first=is_ours)
            margin, rounding = cut - there.score(pair), score_off(pair)
            if abs(here.score(pair) - there.score(pair)) > rounding:
                return None
            if not there.score(pair) <= cut < here.score(pair):
                return None
            return Decision(kind="score at its cut", margin=margin, rounding=rounding)

        limits = (numbers.box_nms_iou, numbers.max_detections)
        tracer = Tracer(*limits, score_off, moved_off, jumps, missing)
        return Traced(tracer, first, second, anchors)

    def _score_bars(self, smooth: Tensor) -> Callable[[int], float]:
        """Return how far the score of a pair may be apart; NaN where its anchor is no proposal."""
        theirs, true = self.reference, self.their_truth
        names = [name for name in theirs.named if name.startswith("box logits")]
        stages = [(theirs.named[name], true.named[name]) for name in names]
        cut, classes = self.architecture.score_threshold, theirs.scores.shape[1]
        bars = softmax_bars(theirs.scores, stages, smooth, cut)
        rows = {anchor: row for row, anchor in enumerate(theirs.regions.tolist())}

        def bar(pair: int) -> float:
            row = rows.get(pair // classes)
            return float("nan") if row is None else float(bars[row, pair % classes])

        return bar

    def _mask_differences(self, pairs: Traced) -> list[Difference]:
        if self.ours.soft is None:
            return []
        common = sorted(pairs.first.chosen & pairs.second.chosen)
        masks = [self._pasted(one, common) for one in (self.ours, self.reference)]
        true = self._pasted(self.their_truth, common, self.reference)
        off = APART * max(
            (largest(one - other) for one, other in zip(masks[1], true, strict=True)), default=0.0
        )
        threshold = self.architecture.mask_threshold
        found = []
        for one, mine, their in zip(common, *masks, strict=True):
            parted = (mine >= threshold) != (their >= threshold)
            if not bool(parted.any()):
                continue
            apart = largest((mine - their)[parted])
            decision = self._jump(one, pairs, self.architecture.mask_pool_px)
            if apart <= off:
                decision = Decision(kind="pixel at the mask threshold", margin=apart, rounding=off)
            found.append(self.difference(one, "mask", decision))
        return found

    def _keypoint_differences(self, pairs: Traced) -> list[Difference]:
        theirs, true = self.reference, self.their_truth
        if theirs.heat is None or true.heat is None:
            return []
        smooth = self._smooth(theirs, true)[1]
        heat_off = _apart(theirs.heat, true.heat, smooth)
        found = []
        for one in sorted(pairs.first.chosen & pairs.second.chosen):
            apart, decision = keypoints_apart(
                self._heated(self.ours, one, pairs.first),
                self._heated(theirs, one, pairs.second),
                box_off=pairs.tracer.box_rounding,
                heat_off=heat_off,
            )
            if apart:
                decision = self._jump(one, pairs, self.architecture.keypoint_pool_px) or decision
                found.append(self.difference(one, "keypoints", decision))
        return found

    def _heated(self, replay: Replay, one: int, side: Side) -> Heated:
        assert replay.heat is not None
        order = replay.detections.best.tolist()
        return Heated(replay.heat[order.index(one)].float(), side.box(one).float())

    def _jump(self, one: int, pairs: Traced, cells: int) -> Decision | None:
        """Return why a detection is pooled otherwise, by the box head or into so many cells."""
        boxes = [side.box(one)[None] for side in (pairs.first, pairs.second)]
        off = pairs.tracer.box_rounding
        return pairs.tracer.jumps(one) or self._boundary(boxes[0], boxes[1], cells, off)

    def _bars(self, first: float) -> list[float]:
        """Return how far the boxes that each stage pools may be apart; ``first`` of proposals."""
        theirs, true = self.reference, self.their_truth
        smooth = self._smooth(theirs, true)[0]
        later = zip(theirs.pooled[1:], true.pooled[1:], strict=True)
        return [first, *(APART * largest((one - exact)[smooth]) for one, exact in later)]

    def _boundary(
        self, first: Tensor, second: Tensor, side: int, rounding: float
    ) -> Decision | None:
        """Return the decision that two boxes (1, 4) within rounding are pooled otherwise."""
        off = largest(first - second)  # NaN where a box is not there in one network
        if not off <= rounding or not bool(self._jumped(first, second, side)):
            return None
        return Decision(kind="level or sampling boundary", margin=off, rounding=rounding)

    def _jumped(self, first: Tensor, second: Tensor, side: int) -> Tensor:
        """Return (n,) bool: the two boxes of a row are pooled from other levels or samples."""
        levels = self.architecture.pooled_levels
        return (sampling(first, side, levels) != sampling(second, side, levels)).any(1)

    def _pasted(
        self, one: Replay, ids: Sequence[int], chooser: Replay | None = None
    ) -> list[Tensor]:
        """Return probabilities over the reference's region of each detection, in the original
        image.
        """
        who = one if chooser is None else chooser
        order = who.detections.best.tolist()
        places = {pair: place for place, pair in enumerate(order)}
        classes = one.scores.shape[1]
        pairs = torch.tensor(ids, dtype=torch.int64)
        frames = []
        for replay in (one, self.reference):
            rows, of_class = rows_of(replay.regions, pairs, classes)
            frames.append(self._original(replay.moved[rows, of_class].float()))
        assert one.soft is not None
        found = []
        for pair, box, frame in zip(ids, *frames, strict=True):
            left, top = (frame[:2].floor() - 1).clamp(min=0).tolist()
            right = min(float(frame[2].ceil()) + 1, self.image.width_px)
            bottom = min(float(frame[3].ceil()) + 1, self.image.height_px)
            ys, xs = torch.arange(top, bottom) + 0.5, torch.arange(left, right) + 0.5
            soft = one.soft[places[pair]].float()
            found.append(sampled(soft[None], box[None], ys, xs)[0])
        return found

    def _moved_off(self) -> float:
        """Pixels of the original by which rounding moves the reference's boxes at most."""
        smooth = self._smooth(self.reference, self.their_truth)[0]
        moved = largest((self.reference.moved - self.their_truth.moved)[smooth])
        return moved * max(1.0, self.image.width_px / float(self.image.pixels.shape[1]))

    def _original(self, boxes: Tensor) -> Tensor:
        height, width = self.image.pixels.shape[:2]
        across, down = self.image.width_px / width, self.image.height_px / height
        scaled = boxes * boxes.new_tensor([across, down, across, down])
        return clip(scaled, self.image.height_px, self.image.width_px)

    def is_as_replayed(self, answer: Detections) -> bool:
        """Return whether the engine's detections are those of the replay."""
        return is_as_expected(answer, self._expected())

    def _expected(self) -> Expected:
        """Return the replay's detections, and how far the engine's may be from them."""
        ours, theirs, true = self.ours, self.reference, self.their_truth
        best = ours.detections.best
        rows, classes = rows_of(ours.regions, best, ours.scores.shape[1])
        boxes = ours.moved[rows, classes].float()
        height, width = self.image.pixels.shape[:2]
        regions, found = self._smooth(theirs, true)
        return Expected(
            boxes=self._original(boxes),
            resized=boxes,
            scores=ours.scores[rows, classes].float(),
            classes=classes,
            soft=None if ours.soft is None else ours.soft.float(),
            heat=None if ours.heat is None else ours.heat.float(),
            box_off=max(BOX_BAR_PX, APART * self._moved_off()),
            score_off=max(SCORE_BAR, APART * largest((theirs.scores - true.scores)[regions])),
            soft_off=_apart(theirs.soft, true.soft, found),
            heat_off=_apart(theirs.heat, true.heat, found),
            mask_threshold=self.architecture.mask_threshold,
            scale=(self.image.width_px / width, self.image.height_px / height),
        )

    def difference(self, pair: int | None, what: str, decision: Decision | None) -> Difference:
        """Return a difference of this image; ``pair`` is None where it is of no one detection."""
        classes = self.reference.scores.shape[1]
        side = pair_side(self.ours if what == "only ours" else self.reference)
        return Difference(
            image_id=self.image.image_id,
            what=what,
            class_index=0 if pair is None else pair % classes,
            score=None if pair is None else finite(side.score(pair)),
            decision=decision if decision is not None and decision.is_finite else None,
        )


def _cuts(one: Replay, numbers: Architecture) -> list[float]:
    """Return per level the least objectness of an anchor that is a candidate."""
    counts = torch.bincount(one.anchor_levels).tolist()
    most = numbers.rpn_pre_nms_per_level
    return [
        float(level.topk(min(most, len(level)))[0].min()) if len(level) else -math.inf
        for level in torch.split(one.logits, counts)
    ]


def _apart(values: Tensor | None, true: Tensor | None, smooth: Tensor) -> float:
    """Return how far two networks' values of the smooth rows may be apart; 0 where none are."""
    return 0.0 if values is None or true is None else APART * largest((values - true)[smooth])


def _item(values: Tensor) -> Callable[[int], float]:
    return lambda one: float(values[one])


def _pooled_box(one: Replay, anchor: int, number: int) -> Tensor:
    """Return (1, 4) of an anchor as a stage pooled it; NaN where it is no proposal."""
    if number == 0:
        return one.boxes[anchor][None]
    (rows,) = torch.nonzero(one.regions == anchor, as_tuple=True)
    return one.pooled[number][rows] if len(rows) else torch.full((1, 4), torch.nan)
