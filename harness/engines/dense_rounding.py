"""What a dense head decided on one image, and why two networks decided differently.

The candidates are pairs of an anchor and a class, numbered anchor · K + class. A pair has to pass
the score cut, be among the best of its level, and survive NMS; there is no pooling that could jump.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from harness.core.detections import Image as Picture
from harness.engines.native import NativeEngine
from harness.engines.replay import Choice, Follow, Replay, Replayer, choose
from harness.engines.rounding import APART, Case, FastProof, Traced, pair_side, prove_fast
from harness.engines.slot_answers import Resized
from harness.engines.tracing import Decision, Side, Tracer, largest, no_jump
from harness.nn.boxes import apply_deltas, at_least_float32
from harness.nn.dense import DELTA_WEIGHTS
from harness.nn.rcnn import RCNN


def prove_dense(
    fast: NativeEngine, reference: NativeEngine, truth: RCNN, images: Iterable[Picture]
) -> FastProof:
    """Compare two engines of a dense head with float64, as ``harness.engines.rounding`` does.

    Args:
        fast: The engine to prove.
        reference: An exact one of the same weights, in the same precision.
        truth: The same network in float64.
        images: What to compute.
    """
    return prove_fast(fast, reference, truth, images, replayer=DenseReplayer, case=DenseCase)


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
        network = self.network
        device = network.pixel_mean.device
        pyramid, logits, deltas = self._dense_maps(image)
        anchors = network.head.anchors(pyramid)
        flat = torch.cat([one[0] for one in logits])
        moves = torch.cat([one[0] for one in deltas])
        boxes = apply_deltas(moves, torch.cat(anchors), DELTA_WEIGHTS)
        counts = torch.tensor([len(one) for one in anchors])
        levels = torch.repeat_interleave(torch.arange(len(anchors)), counts).to(device)
        scores = at_least_float32(flat).sigmoid()
        regions = torch.arange(len(boxes), device=device)
        every = torch.ones_like(regions, dtype=torch.bool)
        named = {f"p{index}": level[0] for index, level in enumerate(pyramid, start=3)}
        return Replay(
            named=named | {"class logits": flat, "box deltas": moves},
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

    def _dense_maps(self, image: Resized) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        if self._last is not None and self._last[0] is image:
            return self._last[1]
        network = self.network
        pixels = torch.from_numpy(image.pixels).to(network.pixel_mean.device).permute(2, 0, 1)
        pyramid = network.backbone(network.batch([pixels]).pixels)
        found = (pyramid, *network.head(pyramid))
        self._last = (image, found)
        return found

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

    def _smooth(self, one: Replay, true: Replay) -> tuple[Tensor, Tensor]:
        """Return that every anchor and every detection measures rounding."""
        del true
        chosen = int(one.detections.chosen.sum())
        return torch.ones_like(one.regions, dtype=torch.bool), torch.ones(chosen, dtype=torch.bool)

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
