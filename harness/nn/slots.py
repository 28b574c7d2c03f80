"""The whole network, from pixels to outlines, in tensors of fixed size: nothing waits for a GPU.

Where the eager path (``nn.rcnn``) selects rows, and so has to know how many there are, this one
keeps a number of slots and a count beside them. What it computes for a slot that counts is what
the eager path computes for that row: the same decisions, by the same rules, in the same order. The
answer is one tensor of a known shape, so that one asynchronous copy brings it to the host, and one
CUDA graph holds all of it.

An image with more candidates than there are slots, or more outline than fits, says so in its
counts; the caller then has to take the eager path for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.core.architecture import Architecture
from harness.nn.boxes import apply_deltas, pyramid_levels
from harness.nn.rcnn import RCNN
from harness.nn.slot_regions import (
    RegionOperators,
    SlotProposals,
    apart,
    clip_each,
    nonempty_each,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """How many slots there are for what no network number bounds."""

    candidates: int = 4096
    """Pairs of a region and a class above the score cut, of one image."""
    places: int = 1 << 18
    """Places at which the masks of one image change, all together."""
    characters: int = 1 << 18
    """Of the text of one image's masks; a multiple of 4."""


class SlotOperators(RegionOperators, Protocol):
    """Operators of fixed size that torch does not have; ``nn.kernels`` implements them."""

    def first_survivors(
        self, boxes: Tensor, counts: Tensor, threshold: float, limit: int
    ) -> tuple[Tensor, Tensor]: ...

    def pooled_from_levels(
        self,
        maps: Sequence[Tensor],
        boxes: Tensor,
        levels: Tensor,
        side: int,
        dtype: torch.dtype,
    ) -> Tensor: ...

    def outlines(
        self,
        soft: Tensor,
        boxes: Tensor,
        kept: Tensor,
        sizes: Tensor,
        threshold: float,
        capacity: int,
    ) -> tuple[Tensor, Tensor]: ...

    def characters(
        self, places: Tensor, counts: Tensor, kept: Tensor, sizes: Tensor, capacity: int
    ) -> tuple[Tensor, Tensor]: ...


class Frame(NamedTuple):
    """Where the images of a batch are, one row an image, on the device."""

    resized: Tensor
    """(B, 2) float32: height and width in the padded input, px."""

    original: Tensor
    """(B, 2) int32: height and width of the original image, px."""

    scale: Tensor
    """(B, 4) float32: factors from boxes of the resized image to boxes of the original."""


class Found(NamedTuple):
    """Detections in slots, best first; D slots an image."""

    boxes: Tensor
    """(B, D, 4) float32, px of the resized input."""

    scores: Tensor
    """(B, D) float32."""

    classes: Tensor
    """(B, D) int64."""

    counts: Tensor
    """(B,) int32: slots that are filled."""

    candidates: Tensor
    """(B,) int32: pairs of region and class above the score cut."""


#: What stands at the beginning of an image's row of the answer.
HEAD = ("count", "candidates", "finite", "places", "characters")


class Layout(NamedTuple):
    """Columns of the answer, in int32 words of an image's row."""

    boxes: slice
    """4 a slot, floats as bits."""

    scores: slice
    """1 a slot, floats as bits."""

    classes: slice
    """1 a slot."""

    kept: slice
    """1 a slot: whether it is a detection."""

    lengths: slice
    """1 a slot: characters of its mask."""

    text: slice
    """Text of all masks, four characters a word."""

    width: int
    """Words of a row."""


def layout_of(detections: int, characters: int) -> Layout:
    """Return the columns for so many slots; ``characters`` is 0 for a network without masks."""
    ends = [len(HEAD)]
    for length in (4 * detections, *(detections,) * 4, characters // 4):
        ends.append(ends[-1] + length)
    parts = [slice(begin, end) for begin, end in pairwise(ends)]
    boxes, scores, classes, kept, lengths, text = parts
    return Layout(boxes, scores, classes, kept, lengths, text, ends[-1])


def lacking_in_slots(architecture: Architecture) -> str | None:
    """Return what a network has that is not computed in slots; None where there is nothing."""
    if architecture.keypoint_count:
        return "keypoints"
    if architecture.is_panoptic:
        return "maps of segments"
    if architecture.detector == "dense":
        return "dense heads"
    if architecture.detector == "rpn":
        return "proposals alone"
    if architecture.given_proposals:
        return "proposals from a file"
    if architecture.neck != "fpn":
        return "regions of a single map"
    if architecture.is_cascade:
        return "boxes refined in stages"
    if any(architecture.deformable_stages):
        return "deformable convolutions"
    return None


class SlotNetwork:
    """A network computed in slots."""

    def __init__(self, network: RCNN, operators: SlotOperators, capacity: Capacity) -> None:
        self.network = network
        self.operators = operators
        self.capacity = capacity
        numbers = network.architecture
        characters = capacity.characters if numbers.has_masks else 0
        self.layout = layout_of(numbers.max_detections, characters)
        self.proposals = SlotProposals(network.proposal_generator, operators)

    def __call__(self, pixels: Tensor, frame: Frame) -> Tensor:
        """Compute a batch.

        Args:
            pixels: (B, H, W, 3) uint8 in the network's channel order, H and W multiples of 32.
            frame: Where in it each image is, and what it was resized from.

        Returns:
            (B, width of the layout) int32, one image a row; floats are stored as their bits.
        """
        network, numbers = self.network, self.network.architecture
        pyramid = network.backbone(self.normalised(pixels, frame.resized))
        logits, deltas = network.proposal_generator.rpn_head(pyramid)
        proposals, proposed = self.proposals(logits, deltas, pyramid, frame.resized)
        maps = _channels_last(pyramid[:4])  # once for both poolings
        del pyramid, deltas  # the largest tensors there are
        heads = network.roi_heads
        pooled = self.pooled(maps, proposals, numbers.box_pool_px)
        box_logits, box_deltas = heads.predicted(pooled, 0)
        found = self.detections(box_logits, box_deltas, proposals, proposed, frame.resized)
        finite = _all_finite((*logits, box_logits, box_deltas), len(pixels))
        boxes, kept = self.restored(found, frame)
        head: tuple[Tensor, ...] = (found.counts, found.candidates, finite)
        plain = (
            boxes.flatten(1).view(torch.int32),
            found.scores.view(torch.int32),
            found.classes.int(),
            kept.int(),
        )
        if not numbers.has_masks:
            nothing = torch.zeros_like(found.counts)
            head += (nothing, nothing)
            return torch.cat((torch.stack(head, 1), *plain, torch.zeros_like(plain[-1])), dim=1)
        pooled = self.pooled(maps, found.boxes, numbers.mask_pool_px)
        soft = heads.mask_head.probabilities(pooled, found.classes.flatten())  # (B·D, M, M)
        places, runs = self.operators.outlines(
            soft, boxes, kept, frame.original, numbers.mask_threshold, self.capacity.places
        )
        text, lengths = self.operators.characters(
            places, runs, kept, frame.original, self.capacity.characters
        )
        head += (runs.sum(1, dtype=torch.int32), lengths.sum(1, dtype=torch.int32))
        return torch.cat((torch.stack(head, 1), *plain, lengths, text.view(torch.int32)), dim=1)

    def normalised(self, pixels: Tensor, resized: Tensor) -> Tensor:
        """Return (B, 3, H, W) in the network's precision and layout; zero outside each image.

        Args:
            pixels: (B, H, W, 3) uint8 in the network's channel order.
            resized: (B, 2) float32, height and width of each image in it.
        """
        network = self.network
        _, height, width, _ = pixels.shape
        rows = torch.arange(height, device=pixels.device) < resized[:, :1]
        columns = torch.arange(width, device=pixels.device) < resized[:, 1:]
        inside = (rows[:, :, None] & columns[:, None, :])[..., None]  # (B, H, W, 1)
        values = (pixels - network.pixel_mean.flatten()) / network.pixel_std.flatten()
        values = torch.where(inside, values, 0.0).permute(0, 3, 1, 2)  # (B, 3, H, W)
        return values.to(network.first_weight.dtype).contiguous(memory_format=self._layout)

    def detections(
        self, logits: Tensor, deltas: Tensor, proposals: Tensor, proposed: Tensor, resized: Tensor
    ) -> Found:
        """Return the detections of each image.

        Args:
            logits: (B · P, K + 1), the background last.
            deltas: (B · P, 4K).
            proposals: (B, P, 4) float32, px of the resized input.
            proposed: (B,) int32, how many of the P count.
            resized: (B, 2) float32, height and width of each image before padding.
        """
        numbers = self.network.architecture
        batch, slots, _ = proposals.shape
        scores = F.softmax(logits.float(), dim=-1)[:, :-1].reshape(batch, slots, -1)
        classes = scores.shape[2]
        real = torch.arange(slots, device=scores.device) < proposed[:, None]
        passes = ((scores > numbers.score_threshold) & real[..., None]).flatten(1)  # (B, P·K)
        candidates = passes.sum(1, dtype=torch.int32)
        ranked = (
            scores.flatten(1).masked_fill(~passes, -1.0).sort(dim=1, descending=True, stable=True)
        )
        room = min(self.capacity.candidates, passes.shape[1])
        best, pairs = ranked[0][:, :room], ranked[1][:, :room]  # (B, room) each
        region, category = pairs // classes, pairs % classes
        moves = deltas.view(batch, -1, 4).gather(1, pairs[..., None].expand(-1, -1, 4))
        base = proposals.gather(1, region[..., None].expand(-1, -1, 4))
        boxes = apply_deltas(moves.flatten(0, 1), base.flatten(0, 1), numbers.box_delta_weights)
        boxes = clip_each(boxes.view(batch, room, 4), resized)  # (B, room, 4)
        fitting = candidates.clamp(max=room)
        valid = torch.arange(room, device=scores.device) < fitting[:, None]
        rows, counts = self.operators.first_survivors(
            apart(boxes, valid, category), fitting, numbers.box_nms_iou, numbers.max_detections
        )
        return Found(
            boxes.gather(1, rows[..., None].expand(-1, -1, 4)),
            best.gather(1, rows),
            category.gather(1, rows),
            counts,
            candidates,
        )

    def restored(self, found: Found, frame: Frame) -> tuple[Tensor, Tensor]:
        """Return (B, D, 4) boxes in original pixels, clipped; and (B, D) bool, which are
        detections.
        """
        boxes = clip_each(found.boxes * frame.scale[:, None], frame.original.float())
        slots = torch.arange(boxes.shape[1], device=boxes.device)
        return boxes, nonempty_each(boxes) & (slots < found.counts[:, None])

    def pooled(self, maps: Sequence[Tensor], boxes: Tensor, side: int) -> Tensor:
        """Return pooled regions, in the network's precision and layout.

        Args:
            maps: p2 … p5.
            boxes: (B, R, 4) float32, px of the resized input.
            side: Cells of a pooled region in each direction.

        Returns:
            (B · R, C, side, side).
        """
        maps = _channels_last(maps[:4])
        levels = pyramid_levels(boxes.flatten(0, 1)).view(boxes.shape[:2])
        dtype = self.network.roi_heads.dtype
        pooled = self.operators.pooled_from_levels(maps, boxes, levels, side, dtype)
        return pooled.contiguous(memory_format=self._layout)

    @property
    def _layout(self) -> torch.memory_format:
        """Return the memory layout of the network's maps."""
        lies_last = self.network.first_weight.is_contiguous(memory_format=torch.channels_last)
        return torch.channels_last if lies_last else torch.contiguous_format


def _channels_last(maps: Sequence[Tensor]) -> list[Tensor]:
    return [one.contiguous(memory_format=torch.channels_last) for one in maps]


def _all_finite(tensors: Sequence[Tensor], batch: int) -> Tensor:
    """Return (B,) int32, 1 when no number of the whole batch is NaN or infinite."""
    together = torch.cat([one.flatten() for one in tensors])
    return torch.isfinite(together).all().to(torch.int32).expand(batch)
