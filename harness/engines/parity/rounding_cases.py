"""Networks other than Faster and Mask R-CNN on one image, replayed and compared with float64.

A replayer says what a network decided, a case why two networks decided differently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from harness.core.detections import Detections
from harness.core.run_lengths import decode
from harness.engines.network_outputs import Resized
from harness.engines.parity.bits import other_map
from harness.engines.parity.case import Case, Difference
from harness.engines.parity.replay import Choice, Follow, Proposed, Replay, Replayer, Rows, choose
from harness.engines.parity.tracing import (
    APART,
    Decision,
    Side,
    Traced,
    Tracer,
    largest,
    no_jump,
    pair_side,
    sigmoid_bars,
)
from harness.nn.boxes import apply_deltas, at_least_float32
from harness.nn.dense import DELTA_WEIGHTS
from harness.nn.masks import PastedMask
from harness.nn.panoptic import combined, enlarged, of_original


class GivenReplayer(Replayer):
    """Replays a network on the proposals that come with each image.

    Each of them counts as an anchor that is always chosen: no decision is about them.
    """

    def _proposed(self, image: Resized) -> Proposed:
        assert image.proposals is not None  # without them it would not have been prepared
        pyramid, *_ = self._maps(image)
        boxes = torch.from_numpy(image.proposals).to(pyramid[0].device)
        every = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
        numbers = torch.arange(len(boxes), device=boxes.device)
        level, alike = torch.zeros_like(numbers), torch.zeros(len(boxes), device=boxes.device)
        choice = Choice(numbers, alike, boxes, level, every, every, boxes, numbers)
        return Proposed(pyramid, self._named(pyramid), alike, boxes, level, choice)

    def _answered(self, pyramid: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        del pyramid
        return [], []


class GivenCase(Case):
    """One image whose proposals are given, replayed by both networks and by float64."""

    replayer = GivenReplayer


class ProposalReplayer(Replayer):
    """Replays the proposals; what is found are the proposals themselves, of one class."""

    @torch.inference_mode()
    def replay(self, image: Resized, follow: Follow | None = None) -> Replay:
        """Compute an image, and return its numbers and decisions.

        Args:
            image: Resized for the network.
            follow: Decisions of another network, which change no number here.
        """
        del follow
        found = self._proposed(image)
        of_one_class = torch.zeros_like(found.choice.groups)
        every = torch.arange(len(found.boxes), device=found.boxes.device)
        return Replay(
            named=found.named,
            logits=found.logits,
            boxes=found.boxes,
            anchor_levels=found.levels,
            proposals=found.choice,
            regions=every,
            pooled=(),
            scores=found.logits.sigmoid()[:, None],
            moved=found.boxes[:, None],
            detections=replace(
                found.choice, scores=found.choice.scores.sigmoid(), groups=of_one_class
            ),
            soft=None,
            heat=None,
        )


class ProposalCase(Case):
    """One image of a network that only proposes regions."""

    replayer = ProposalReplayer

    def _traced(self) -> Traced:
        return self._anchor_tracer()


class DenseReplayer(Replayer):
    """Replays a network with a dense head; every anchor counts as a region of its own."""

    @torch.inference_mode()
    def replay(self, image: Resized, follow: Follow | None = None) -> Replay:
        """Compute an image, and return its numbers and decisions.

        Args:
            image: Resized for the network.
            follow: Decisions of another network, which change no number here.
        """
        del follow
        pyramid, logits, deltas = self._maps(image)
        rows = Rows.of(logits, deltas, self.network.head.anchors(pyramid))
        flat, levels = rows.logits, rows.levels
        boxes = apply_deltas(rows.deltas, rows.anchors, DELTA_WEIGHTS)
        scores = at_least_float32(flat).sigmoid()
        regions = torch.arange(len(boxes), device=boxes.device)
        every = torch.ones_like(regions, dtype=torch.bool)
        answered = {"class logits": flat, "box deltas": rows.deltas}
        return Replay(
            named=self._named(pyramid) | answered,
            logits=flat.amax(dim=1),
            boxes=boxes,
            anchor_levels=levels,
            proposals=Choice(
                regions, flat.amax(dim=1), boxes, levels, every, every, boxes, regions
            ),
            regions=regions,
            pooled=(),
            scores=scores,
            moved=boxes[:, None].expand(-1, scores.shape[1], -1),
            detections=self._chosen(logits, boxes, scores.shape[1]),
            soft=None,
        )

    def _answered(self, pyramid: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        answer: tuple[list[Tensor], list[Tensor]] = self.network.head(pyramid)
        return answer

    def _chosen(self, logits: Sequence[Tensor], boxes: Tensor, classes: int) -> Choice:
        numbers, head = self.network.architecture, self.network.head
        anchors, scores, of_class, start = [], [], [], 0
        for level in logits:
            rows, found, which = head.candidates(level[0])
            anchors.append(rows + start)
            scores.append(found)
            of_class.append(which)
            start += level.shape[1]
        rows, found, which = torch.cat(anchors), torch.cat(scores), torch.cat(of_class)
        limits = (numbers.box_nms_iou, numbers.max_detections)
        return choose(rows * classes + which, found, boxes[rows], which, *limits)


class DenseCase(Case):
    """One image of a dense head, replayed by both networks and by float64.

    The candidates are pairs of an anchor and a class, numbered anchor · K + class. A pair has to
    pass the score cut, be among the best of its level, and survive NMS; there is no pooling that
    could jump.
    """

    replayer = DenseReplayer

    def _traced(self) -> Traced:
        numbers, theirs, true = self.architecture, self.reference, self.their_truth
        classes = theirs.scores.shape[1]
        # Of what could be a candidate: the boxes of the others may be anywhere.
        rows = theirs.detections.ids // classes
        logits = (theirs.named["class logits"], true.named["class logits"])
        bars = sigmoid_bars(theirs.scores, *logits, numbers.score_threshold).flatten()
        moved_off = APART * largest(theirs.boxes[rows] - true.boxes[rows])
        first, second = (pair_side(one) for one in (self.ours, theirs))
        replays = {id(first): self.ours, id(second): theirs}

        def missing(pair: int, here: Side, there: Side) -> Decision | None:
            apart, score_off = abs(here.score(pair) - there.score(pair)), float(bars[pair])
            if apart > score_off:
                return None
            cuts = [
                max(
                    float(np.float32(numbers.score_threshold)),  # as scores are compared with it
                    self._lowest(replays[id(side)], pair // classes),
                )
                for side in (here, there)
            ]
            margin = cuts[1] - there.score(pair)
            if margin > 2 * score_off or min(margin, here.score(pair) - cuts[0]) < 0:
                return None
            return Decision(kind="score at its cut", margin=margin, rounding=score_off)

        limits = (numbers.box_nms_iou, numbers.max_detections)
        tracer = Tracer(*limits, lambda pair: float(bars[pair]), moved_off, no_jump, missing)
        return Traced(tracer, first, second)

    def _lowest(self, replay: Replay, anchor: int) -> float:
        """Return the lowest score taken on the level of an anchor, if the level was full."""
        level = replay.anchor_levels[anchor]
        of_level = replay.anchor_levels[replay.detections.ids // replay.scores.shape[1]] == level
        scores = replay.detections.scores[of_level]
        full = len(scores) >= self.architecture.dense_candidates_per_level
        return float(scores.min()) if full else 0.0


#: The stage that a semantic head adds.
STAGE = "semantic logits"


class PanopticReplayer(Replayer):
    """Replays a network with a semantic head beside its heads on regions."""

    @torch.inference_mode()
    def replay(self, image: Resized, follow: Follow | None = None) -> Replay:
        """Compute an image, and return its numbers and decisions.

        Args:
            image: Resized for the network.
            follow: Decisions of another network to follow; the semantic head has none.
        """
        found = super().replay(image, follow)
        logits = at_least_float32(self.network.sem_seg_head(self._maps(image)[0])[0])
        return replace(found, named=found.named | {STAGE: logits})


class PanopticCase(Case):
    """One image replayed by both networks, with the class of each pixel.

    Detections are compared as of any network on regions. A map of segments is counted from them
    and from the class of each pixel alone, so nothing else can differ; that the engine's map is
    what these give is checked as well.
    """

    replayer = PanopticReplayer

    def differences(self) -> list[Difference]:
        """Return every detection that differs, and one row for pixels that do."""
        decision = self._pixels()
        found = super().differences()
        if decision is None:
            return found
        why, is_rounding = decision
        return [*found, self.difference(None, "pixels", why if is_rounding else None)]

    def _pixels(self) -> tuple[Decision, bool] | None:
        """Return the decision behind pixels of two classes, and whether it is one of rounding."""
        ours, theirs, true = (
            self._logits(one) for one in (self.ours, self.reference, self.their_truth)
        )
        mine, their = ours.argmax(dim=0), theirs.argmax(dim=0)
        apart = mine != their
        if not bool(apart.any()):
            return None
        lead = theirs.gather(0, their[None]) - theirs.gather(0, mine[None])  # (1, h, w)
        margin = float(lead[0][apart].max())
        rounding = 2 * APART * largest(theirs - true)
        decision = Decision(kind="classes of a pixel", margin=margin, rounding=rounding)
        return decision, margin <= rounding

    def _logits(self, one: Replay) -> Tensor:
        """Return the logits of each pixel of the original image, (C, h, w)."""
        size = (self.image.pixels.shape[0], self.image.pixels.shape[1])
        original = (self.image.height_px, self.image.width_px)
        return of_original(enlarged(one.named[STAGE][None])[0], size, original)

    def is_as_replayed(self, answer: Detections) -> bool:
        """Return whether the engine's detections, and its map, are those of the replay."""
        if answer.panoptic is None or answer.masks is None:
            return False
        expected = combined(
            torch.from_numpy(answer.scores),
            torch.from_numpy(answer.class_index),
            [PastedMask(torch.from_numpy(decode(one)), 0, 0) for one in answer.masks],
            self._logits(self.ours).argmax(dim=0).numpy(),
            self.architecture,
        )
        return super().is_as_replayed(answer) and other_map(answer.panoptic, expected) is None
