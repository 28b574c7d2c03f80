"""What a semantic head decided on one image, and why two networks give a pixel two classes.

Detections are compared as of any network on regions. A map of segments is counted from detections
and from the class of each pixel alone, so nothing else can differ; that the engine's map is what
these give is checked as well.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from harness.core.detections import Detections
from harness.core.run_lengths import decode
from harness.engines.bits import other_map
from harness.engines.replay import Follow, Replay, Replayer
from harness.engines.rounding import APART, Case, Difference
from harness.engines.slot_answers import Resized
from harness.engines.tracing import Decision, largest
from harness.nn.boxes import at_least_float32
from harness.nn.masks import PastedMask
from harness.nn.panoptic import combined
from harness.nn.semantic import enlarged, of_original

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
    """One image replayed by both networks, with the class of each pixel."""

    replayer = PanopticReplayer

    def differences(self) -> list[Difference]:
        """Return every detection that differs, and one row for pixels that do."""
        decision = self._pixels()
        found = super().differences()
        return found if decision is None else [*found, self._of_pixels(decision)]

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

    def _of_pixels(self, found: tuple[Decision, bool]) -> Difference:
        decision, is_rounding = found
        return Difference(
            image_id=self.image.image_id,
            what="pixels",
            class_index=0,
            score=float("nan"),
            decision=decision if is_rounding else None,
        )

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
