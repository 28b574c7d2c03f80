"""A network that only proposes regions, replayed and compared with float64."""

from __future__ import annotations

from dataclasses import replace

import torch

from harness.engines.replay import Follow, Replay, Replayer
from harness.engines.rounding import Case, Traced
from harness.engines.slot_answers import Resized


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
