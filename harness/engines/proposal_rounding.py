"""A network that only proposes regions, replayed and compared with float64."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from harness.core.detections import Image as Picture
from harness.engines.native import NativeEngine
from harness.engines.replay import Follow, Replay, Replayer
from harness.engines.rounding import Case, FastProof, Traced, prove_fast
from harness.engines.slot_answers import Resized
from harness.engines.stages import map_names
from harness.nn.boxes import apply_deltas, at_least_float32, clip
from harness.nn.rcnn import RCNN
from harness.nn.rpn import DELTA_WEIGHTS


def prove_proposals(
    fast: NativeEngine, reference: NativeEngine, truth: RCNN, images: Iterable[Picture]
) -> FastProof:
    """Compare two engines of proposals with float64, as ``harness.engines.rounding`` does.

    Args:
        fast: The engine to prove.
        reference: An exact one of the same weights, in the same precision.
        truth: The same network in float64.
        images: What to compute.
    """
    return prove_fast(fast, reference, truth, images, replayer=ProposalReplayer, case=ProposalCase)


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
        network = self.network
        device = network.pixel_mean.device
        size = (image.pixels.shape[0], image.pixels.shape[1])
        pyramid, logits, deltas = self._maps(image)
        anchors = network.proposal_generator.anchors(pyramid)
        flat = at_least_float32(torch.cat([one[0] for one in logits]))
        moves = torch.cat([one[0] for one in deltas])
        boxes = clip(apply_deltas(moves, torch.cat(anchors), DELTA_WEIGHTS), *size)
        counts = torch.tensor([len(one) for one in anchors])
        levels = torch.repeat_interleave(torch.arange(len(anchors)), counts).to(device)
        proposals = self._proposals(logits, flat, boxes, levels)
        names = map_names(len(pyramid))
        named = {name: level[0] for name, level in zip(names, pyramid, strict=True)}
        of_one_class = torch.zeros_like(proposals.groups)
        return Replay(
            named=named | {"rpn logits": flat, "rpn deltas": moves},
            logits=flat,
            boxes=boxes,
            anchor_levels=levels,
            proposals=proposals,
            regions=torch.arange(len(boxes), device=device),
            pooled=(),
            scores=flat.sigmoid()[:, None],
            moved=boxes[:, None],
            detections=replace(proposals, scores=proposals.scores.sigmoid(), groups=of_one_class),
            soft=None,
            heat=None,
        )


class ProposalCase(Case):
    """One image of a network that only proposes regions."""

    def _smooth(self, one: Replay, true: Replay) -> tuple[Tensor, Tensor]:
        """Return that every anchor measures rounding: nothing is pooled."""
        del true
        chosen = int(one.detections.chosen.sum())
        return torch.ones_like(one.regions, dtype=torch.bool), torch.ones(chosen, dtype=torch.bool)

    def _traced(self) -> Traced:
        return self._anchor_tracer()
