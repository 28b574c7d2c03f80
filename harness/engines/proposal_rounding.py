"""A network that only proposes regions, replayed and compared with float64."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch

from harness.core.detections import Image as Picture
from harness.engines.native import NativeEngine
from harness.engines.replay import Follow, Replay, Replayer
from harness.engines.rounding import Case, FastProof, Traced, prove_fast
from harness.engines.slot_answers import Resized
from harness.nn.rcnn import RCNN


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

    def _traced(self) -> Traced:
        return self._anchor_tracer()
