"""Semantic head on a pyramid, and its classes of each pixel (Detectron2 ``semantic_seg.py``).

C classes, H × W the padded input, h × w the original image, px.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.core.architecture import Architecture
from harness.core.panoptic import UNKNOWN
from harness.nn.boxes import at_least_float32
from harness.nn.convolution import Conv
from harness.nn.normed import NormedConv
from harness.nn.targets import Losses, MeanCount, Targets

#: Levels of the pyramid that are read (SEM_SEG_HEAD.IN_FEATURES); all are enlarged to the first.
LEVELS = (2, 3, 4, 5)

#: Pixels of the input in a cell of the head's answer (SEM_SEG_HEAD.COMMON_STRIDE).
STRIDE_PX = 4

#: Factor of the loss beside those of the other heads (SEM_SEG_HEAD.LOSS_WEIGHT of
#: configs/COCO-PanopticSegmentation/Base-Panoptic-FPN.yaml).
LOSS_WEIGHT = 0.5


class Enlarged(nn.Module):
    """Twice the height and width, bilinear."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, 2H, 2W)."""
        return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class SemanticHead(nn.Module):
    """3×3 convolutions and bilinear ×2 until all levels have p2's size, their sum, one 1×1."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        channels = architecture.semantic_channels
        norm, eps = architecture.semantic_norm, architecture.batch_norm_eps
        for level in LEVELS:
            steps: list[nn.Module] = []
            for number in range(max(1, level - LEVELS[0])):
                channels_in = channels if number else architecture.fpn_channels
                steps.append(NormedConv(channels_in, channels, 3, norm=norm, eps=eps))
                if level != LEVELS[0]:
                    steps.append(Enlarged())
            self.add_module(f"p{level}", nn.Sequential(*steps))
        self.predictor = Conv(channels, architecture.semantic_classes, 1)

    def forward(self, pyramid: list[Tensor]) -> Tensor:
        """Return the logits of every cell: (B, C, H / 4, W / 4).

        Args:
            pyramid: p2 … p5, and levels above that are not read.
        """
        merged: Tensor | None = None
        for level, features in zip(LEVELS, pyramid, strict=False):
            x = features
            for step in self.get_submodule(f"p{level}").children():
                x = step(x, relu=True) if isinstance(step, NormedConv) else step(x)
            merged = x if merged is None else merged + x
        assert merged is not None
        logits: Tensor = self.predictor(merged)
        return logits


def enlarged(logits: Tensor) -> Tensor:
    """Return logits of every pixel of the padded input: (B, C, H / 4, W / 4) → (B, C, H, W)."""
    return F.interpolate(
        at_least_float32(logits), scale_factor=STRIDE_PX, mode="bilinear", align_corners=False
    )


def of_original(logits: Tensor, size: tuple[int, int], original: tuple[int, int]) -> Tensor:
    """Return logits of every pixel of an original image.

    Args:
        logits: (C, H, W) of the padded input.
        size: Height and width of the image in it, before padding.
        original: h and w.

    Returns:
        (C, h, w).
    """
    shown = logits[:, : size[0], : size[1]].expand(1, -1, -1, -1)
    return F.interpolate(shown, size=original, mode="bilinear", align_corners=False)[0]


def semantic_losses(
    logits: Tensor, targets: Sequence[Targets], mean_count: MeanCount = float
) -> Losses:
    """Return the cross-entropy of each pixel's class, the mean over the pixels that have one.

    Args:
        logits: (B, C, H / 4, W / 4) of the semantic head, of the padded input.
        targets: Ground truth, one an image.
        mean_count: Mean of a count over all processes.
    """
    pixels = enlarged(logits)  # (B, C, H, W)
    wanted = torch.full(
        (len(targets), *pixels.shape[2:]), UNKNOWN, dtype=torch.int64, device=pixels.device
    )
    for slot, target in zip(wanted, targets, strict=True):
        assert target.semantic is not None  # of a network with a semantic head
        height, width = target.semantic.shape
        slot[:height, :width] = target.semantic
    divisor = max(mean_count(int((wanted != UNKNOWN).sum())), 1.0)
    loss = F.cross_entropy(pixels, wanted, reduction="sum", ignore_index=UNKNOWN)
    return {"loss_sem_seg": loss / divisor * LOSS_WEIGHT}, {}
