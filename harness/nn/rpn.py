"""Region proposals (Detectron2 ``modeling/proposal_generator``).

L pyramid levels, A anchors a cell, B images.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from harness.core.architecture import Architecture
from harness.nn.boxes import Anchored, apply_deltas, at_least_float32, cell_anchors, clip, nonempty
from harness.nn.convolution import Conv
from harness.nn.operators import batched_nms

#: Scales of dx, dy, dw, dh (RPN.BBOX_REG_WEIGHTS).
DELTA_WEIGHTS = (1.0, 1.0, 1.0, 1.0)


class RPNHead(nn.Module):
    """3×3 convolutions with ReLU, then an objectness and a delta 1×1, shared by all levels.

    Attributes:
        contiguous: Whether the 3×3 convolutions are of contiguous maps in a network whose other
            maps are channels last.
    """

    contiguous = False

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        channels, anchors = architecture.map_channels, architecture.anchors_per_cell
        count = architecture.rpn_conv_count
        hidden = [Conv(channels, channels, 3, padding=1) for _ in range(count)]
        self.conv: nn.Module = hidden[0]
        if count > 1:
            named = {f"conv{index}": one for index, one in enumerate(hidden)}
            self.conv = nn.Sequential(OrderedDict(named))
        self.objectness_logits = Conv(channels, anchors, 1)
        self.anchor_deltas = Conv(channels, anchors * 4, 1)

    def forward(self, pyramid: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return per level logits (B, H·W·A) and deltas (B, H·W·A, 4), cells row by row."""
        logits, deltas = [], []
        for level in pyramid:
            hidden = level.contiguous() if self.contiguous else level
            for layer in self._hidden:
                hidden = layer(hidden, relu=True)  # (B, C, H, W)
            scores = self.objectness_logits(hidden)  # (B, A, H, W)
            moves = self.anchor_deltas(hidden)  # (B, 4A, H, W)
            batch, anchors, height, width = scores.shape
            logits.append(scores.permute(0, 2, 3, 1).reshape(batch, -1))  # (B, H·W·A)
            moves = moves.view(batch, anchors, 4, height, width).permute(0, 3, 4, 1, 2)
            deltas.append(moves.reshape(batch, -1, 4))  # (B, H·W·A, 4)
        return logits, deltas

    def convolve_contiguous_maps(self) -> None:
        """Have the 3×3 convolutions computed on contiguous maps, for inference on a CPU.

        With the 512 to 2,048 channels of a network of one map oneDNN sums channels-last maps with
        about 3.5 times the rounding, and at 1,024 channels takes 1.2 times as long
        (``docs/zoo.md``).
        """
        self.contiguous = True
        for layer in self._hidden:
            layer.one_pass = False  # the operator would make channels-last maps of them
            layer.weight.data = layer.weight.data.contiguous()

    @property
    def _hidden(self) -> Iterable[Conv]:
        named = self.conv.children() if isinstance(self.conv, nn.Sequential) else (self.conv,)
        return cast(Iterable[Conv], named)


class RPN(Anchored):
    """Head, anchors and the selection of proposals."""

    def __init__(self, architecture: Architecture) -> None:
        sizes, ratios = architecture.anchor_sizes_px, architecture.anchor_ratios
        by_level = [(size,) for size in sizes] if architecture.neck == "fpn" else [sizes]
        cells = (
            torch.cat([cell_anchors(size_px, ratios) for size_px in sizes_px])
            for sizes_px in by_level
        )
        super().__init__(cells, architecture.strides_px)
        self.rpn_head = RPNHead(architecture)
        self.pre_nms_per_level = architecture.rpn_pre_nms_per_level
        self.nms_iou = architecture.rpn_nms_iou
        self.post_nms = architecture.rpn_post_nms

    def forward(
        self, pyramid: Sequence[Tensor], image_sizes: Sequence[tuple[int, int]]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return the proposals of images.

        Args:
            pyramid: p2 … p6, or the one map.
            image_sizes: (height, width) of each image before padding, px.

        Returns:
            Per image (n, 4) px of the resized input, best first; per level objectness logits
            (B, H·W·A).
        """
        logits, deltas = self.rpn_head(pyramid)
        return self.select(logits, deltas, self.anchors(pyramid), image_sizes), logits

    def select(
        self,
        logits: Sequence[Tensor],
        deltas: Sequence[Tensor],
        anchors: Sequence[Tensor],
        image_sizes: Sequence[tuple[int, int]],
        *,
        pre_nms_per_level: int | None = None,
        post_nms: int | None = None,
    ) -> list[Tensor]:
        """Return the best proposals of each image.

        Only the candidates that survive the per-level cut are decoded: decoding is element-wise,
        so the result is the same.

        Args:
            logits: Per level (B, H·W·A).
            deltas: Per level (B, H·W·A, 4).
            anchors: Per level (H·W·A, 4).
            image_sizes: (height, width) of each image before padding; proposals are clipped to it.
            pre_nms_per_level: Candidates a level; None for the test-time recipe's.
            post_nms: Proposals an image; None for the test-time recipe's.

        Returns:
            Per image (n, 4), best first, n at most ``post_nms``.
        """
        chosen = self.scored(
            logits,
            deltas,
            anchors,
            image_sizes,
            pre_nms_per_level=pre_nms_per_level,
            post_nms=post_nms,
        )
        return [boxes for boxes, _ in chosen]

    def scored(
        self,
        logits: Sequence[Tensor],
        deltas: Sequence[Tensor],
        anchors: Sequence[Tensor],
        image_sizes: Sequence[tuple[int, int]],
        *,
        pre_nms_per_level: int | None = None,
        post_nms: int | None = None,
    ) -> list[tuple[Tensor, Tensor]]:
        """Return what `select` does, each image's boxes with their logits (n,)."""
        pre_nms = self.pre_nms_per_level if pre_nms_per_level is None else pre_nms_per_level
        highest = [
            at_least_float32(level).topk(min(level.shape[1], pre_nms), dim=1) for level in logits
        ]
        images = []
        for index, (height, width) in enumerate(image_sizes):
            candidates, scores, levels = [], [], []
            for level, (values, places) in enumerate(highest):
                where = places[index]
                moves = deltas[level][index, where]  # (k, 4)
                candidates.append(apply_deltas(moves, anchors[level][where], DELTA_WEIGHTS))
                scores.append(values[index])
                levels.append(torch.full_like(where, level))
            boxes = clip(torch.cat(candidates), height, width)  # (all levels, 4)
            count = self.post_nms if post_nms is None else post_nms
            images.append(self._best(boxes, torch.cat(scores), torch.cat(levels), count))
        return images

    def _best(
        self, boxes: Tensor, scores: Tensor, levels: Tensor, count: int
    ) -> tuple[Tensor, Tensor]:
        kept = nonempty(boxes)
        boxes, scores, levels = boxes[kept], scores[kept], levels[kept]
        best = batched_nms(boxes, scores, levels, self.nms_iou)[:count]
        return boxes[best], scores[best]
