"""The operators of a network in slots, of torchvision's: with waits, and on any device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import nms

from harness.core.detections import Detections, Image
from harness.engines.native import NativeEngine
from harness.engines.network_outputs import FRAME_NUMBERS, Overflow, canvas_of, detections_of, fill
from harness.measure.masks import encode_edges
from harness.measure.timing import NULL_STOPWATCH
from harness.nn.fpn import STRIDES_PX
from harness.nn.masks import paste_outlines
from harness.nn.roi_heads import pooled_regions
from harness.nn.slots import Capacity, Frame, SlotNetwork


class PlainOperators:
    """Implements ``nn.slots.SlotOperators``."""

    def kept_in_segments(
        self, boxes: Tensor, valid: Tensor, starts: Tensor, longest: int, threshold: float
    ) -> Tensor:
        kept = torch.zeros_like(valid)
        for image in range(len(boxes)):
            for begin, end in zip(starts.tolist(), starts.tolist()[1:], strict=False):
                rows = begin + valid[image, begin:end].nonzero()[:, 0]
                order = -torch.arange(len(rows)).float()
                kept[image, rows[nms(boxes[image, rows], order, threshold)]] = True
        return kept

    def first_survivors(
        self, boxes: Tensor, counts: Tensor, threshold: float, limit: int
    ) -> tuple[Tensor, Tensor]:
        rows = torch.zeros((len(boxes), limit), dtype=torch.int64)
        number = torch.zeros(len(boxes), dtype=torch.int32)
        for image, count in enumerate(counts.tolist()):
            found = nms(boxes[image, :count], -torch.arange(count).float(), threshold)[:limit]
            rows[image, : len(found)] = found
            number[image] = len(found)
        return rows, number

    def pooled_from_levels(
        self, maps: Sequence[Tensor], boxes: Tensor, levels: Tensor, side: int, dtype: torch.dtype
    ) -> Tensor:
        batch, count, _ = boxes.shape
        image = torch.arange(batch).repeat_interleave(count)[:, None]
        rois = torch.cat((image.float(), boxes.flatten(0, 1)), dim=1)
        pooled = rois.new_zeros((len(rois), side, side, maps[0].shape[1]))
        for level, features in enumerate(maps, start=2):
            where = (levels.flatten() == level).nonzero()[:, 0]
            if len(where):
                regions = pooled_regions(features.float(), rois[where], side, STRIDES_PX[level - 2])
                pooled.index_copy_(0, where, regions.permute(0, 2, 3, 1))
        return pooled.permute(0, 3, 1, 2).to(dtype)

    def outlines(
        self,
        soft: Tensor,
        boxes: Tensor,
        kept: Tensor,
        sizes: Tensor,
        threshold: float,
        capacity: int,
    ) -> tuple[Tensor, Tensor]:
        batch, count, _ = boxes.shape
        places = torch.zeros((batch, capacity), dtype=torch.int32)
        runs = torch.zeros((batch, count), dtype=torch.int32)
        for image, (height, width) in enumerate(sizes.tolist()):
            rows = kept[image].nonzero()[:, 0]
            found = paste_outlines(
                soft.view(batch, count, *soft.shape[1:])[image, rows],
                boxes[image, rows],
                height,
                width,
                threshold,
            )
            runs[image, rows] = torch.tensor([len(one) for one in found], dtype=torch.int32)
            whole = torch.cat([*found, torch.zeros(0, dtype=torch.int64)])[:capacity]
            places[image, : len(whole)] = whole.int()
        return places, runs

    def characters(
        self, places: Tensor, counts: Tensor, kept: Tensor, sizes: Tensor, capacity: int
    ) -> tuple[Tensor, Tensor]:
        text = torch.zeros((len(counts), capacity), dtype=torch.uint8)
        lengths = torch.zeros_like(counts)
        for image, (height, width) in enumerate(sizes.tolist()):
            each = counts[image].tolist()
            if sum(each) > places.shape[1]:
                continue  # told by the number of places
            parts = places[image].long().split([*each, places.shape[1] - sum(each)])
            written = b""
            for slot, edges in enumerate(parts[:-1]):
                if kept[image, slot]:
                    mask = encode_edges(edges.numpy(), height_px=height, width_px=width)
                    lengths[image, slot] = len(mask.counts)
                    written += mask.counts.encode("ascii")
            written = written[:capacity]
            text[image, : len(written)] = torch.tensor(list(written), dtype=torch.uint8)
        return text, lengths


@torch.inference_mode()
def in_slots(
    engine: NativeEngine, images: list[Image], capacity: Capacity
) -> list[Detections | Overflow]:
    prepared = [engine.prepare(image, NULL_STOPWATCH) for image in images]
    # What lies outside an image is never read: noise has to change nothing.
    noise = np.random.Generator(np.random.PCG64(1))
    pixels = noise.integers(256, size=(len(images), *canvas_of(prepared), 3)).astype(np.uint8)
    frame = np.zeros((len(images), FRAME_NUMBERS), dtype=np.float32)
    fill(prepared, pixels, frame)
    rows = torch.from_numpy(frame)
    slots = SlotNetwork(engine.network, PlainOperators(), capacity)
    parts = Frame(rows[:, :2], rows[:, 2:4].int(), rows[:, 4:])
    answer = slots(torch.from_numpy(pixels), parts).numpy()
    assert answer.shape == (len(images), slots.layout.width)
    return [
        detections_of(image, row, slots.layout, capacity, masks=True)
        for image, row in zip(prepared, answer, strict=True)
    ]
