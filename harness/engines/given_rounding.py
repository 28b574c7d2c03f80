"""A network whose proposals come from a file, replayed and compared with float64.

Each proposal counts as an anchor that is always chosen: no decision is about them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.engines.replay import Choice, Proposed, Replayer
from harness.engines.rounding import Case
from harness.engines.slot_answers import Resized


class GivenReplayer(Replayer):
    """Replays a network on the proposals that come with each image."""

    def _proposed(self, image: Resized) -> Proposed:
        assert image.proposals is not None  # without them it would not have been prepared
        pyramid, *_ = self._maps(image)
        boxes = torch.from_numpy(image.proposals).to(pyramid[0].device)
        every = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
        numbers = torch.arange(len(boxes), device=boxes.device)
        level, alike = torch.zeros_like(numbers), torch.zeros(len(boxes), device=boxes.device)
        choice = Choice(numbers, alike, boxes, level, every, every, boxes)
        return Proposed(pyramid, self._named(pyramid), alike, boxes, level, choice)

    def _answered(self, pyramid: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        del pyramid
        return [], []


class GivenCase(Case):
    """One image whose proposals are given, replayed by both networks and by float64."""

    replayer = GivenReplayer
