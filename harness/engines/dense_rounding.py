"""What a dense head decided on one image, and why two networks decided differently.

The candidates are pairs of an anchor and a class, numbered anchor · K + class. A pair has to pass
the score cut, be among the best of its level, and survive NMS; there is no pooling that could jump.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.engines.replay import Choice, Follow, Replay, Replayer, Rows, choose
from harness.engines.rounding import APART, Case, Traced, pair_side
from harness.engines.slot_answers import Resized
from harness.engines.tracing import Decision, Side, Tracer, largest, no_jump
from harness.nn.boxes import apply_deltas, at_least_float32
from harness.nn.dense import DELTA_WEIGHTS


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
            proposals=Choice(regions, flat.amax(dim=1), boxes, levels, every, every, boxes),
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
    """One image of a dense head, replayed by both networks and by float64."""

    replayer = DenseReplayer

    def _traced(self) -> Traced:
        numbers, theirs, true = self.architecture, self.reference, self.their_truth
        classes = theirs.scores.shape[1]
        # Of what could be a candidate: the boxes of the others may be anywhere.
        rows = theirs.detections.ids // classes
        score_off = APART * largest(theirs.scores - true.scores)
        moved_off = APART * largest(theirs.boxes[rows] - true.boxes[rows])
        first, second = (pair_side(one) for one in (self.ours, theirs))
        replays = {id(first): self.ours, id(second): theirs}

        def missing(pair: int, here: Side, there: Side) -> Decision | None:
            apart = abs(here.score(pair) - there.score(pair))
            if apart > score_off:
                return None
            cut = max(numbers.score_threshold, self._lowest(replays[id(there)], pair // classes))
            margin = cut - there.score(pair)
            if margin > 2 * score_off:
                return None
            return Decision(kind="score at its cut", margin=margin, rounding=score_off)

        tracer = Tracer(numbers.box_nms_iou, score_off, moved_off, no_jump, missing)
        return Traced(tracer, first, second)

    def _lowest(self, replay: Replay, anchor: int) -> float:
        """Return the lowest score taken on the level of an anchor, if the level was full."""
        level = replay.anchor_levels[anchor]
        of_level = replay.anchor_levels[replay.detections.ids // replay.scores.shape[1]] == level
        scores = replay.detections.scores[of_level]
        full = len(scores) >= self.architecture.dense_candidates_per_level
        return float(scores.min()) if full else 0.0
