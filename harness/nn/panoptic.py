"""The semantic head on a pyramid, and a map of segments put together of it and of masks.

After Detectron2's ``semantic_seg.py`` and ``meta_arch/panoptic_fpn.py``. C classes, H × W the
padded input, h × w the original image, px.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.core.architecture import Architecture
from harness.core.panoptic import UNKNOWN, PanopticMap, Segment
from harness.nn.boxes import at_least_float32
from harness.nn.convolution import Conv
from harness.nn.masks import PastedMask
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


Map = npt.NDArray[np.int32]


def combined(
    scores: Tensor,
    classes: Tensor,
    masks: Sequence[PastedMask],
    labels: npt.NDArray[np.int64],
    numbers: Architecture,
) -> PanopticMap:
    """Return the segments of an image: its detections, best first, then what is left of stuff.

    A detection whose mask better ones cover by more than ``combine_overlap`` is left out; of the
    others each gets what is free. Each kind of stuff then gets the pixels that no detection has,
    where they are ``combine_stuff_px`` or more. It is all counting: equal detections
    and labels give equal maps.

    Args:
        scores: (n,) of the detections.
        classes: (n,) int64, their classes.
        masks: n, in pixels of the original image, on the CPU.
        labels: (H, W), the class of each pixel by the semantic head.
        numbers: With the thresholds.
    """
    ids = np.zeros(labels.shape, dtype=np.int32)
    segments = list(_put_things(ids, scores, classes, masks, numbers))
    segments += _put_stuff(ids, labels, len(segments), numbers)
    return PanopticMap(ids=ids, segments=tuple(segments), classes=labels.astype(np.uint8))


def _put_things(
    ids: Map, scores: Tensor, classes: Tensor, masks: Sequence[PastedMask], numbers: Architecture
) -> Iterator[Segment]:
    """Write the numbers of detections into a map, and yield the segments."""
    count = 0
    order = torch.argsort(-scores).tolist()  # the order of equal scores is this operator's
    every_score, every_class = scores.tolist(), classes.tolist()  # one transfer, not one a row
    for row in order:
        score = every_score[row]
        if score < numbers.combine_score:
            return
        region, top, left = masks[row]
        mask = region.numpy()
        there = ids[top : top + mask.shape[0], left : left + mask.shape[1]]
        free = mask & (there == 0)
        area, left_over = int(mask.sum()), int(free.sum())
        if left_over == 0 or (area - left_over) / area > numbers.combine_overlap:
            continue
        count += 1
        there[free] = count
        yield Segment(segment_id=count, is_thing=True, class_index=every_class[row], score=score)


def _put_stuff(
    ids: Map, labels: npt.NDArray[np.int64], count: int, numbers: Architecture
) -> list[Segment]:
    """Write the numbers of stuff into what is free of a map, and return the segments."""
    free = ids == 0
    areas = np.bincount(labels[free], minlength=numbers.semantic_classes)
    kept = [one for one in range(1, len(areas)) if 0 < areas[one] >= numbers.combine_stuff_px]
    places = np.zeros(len(areas), dtype=np.int32)
    places[kept] = np.arange(count + 1, count + 1 + len(kept))
    ids[free] = places[labels[free]]
    return [Segment(segment_id=int(places[one]), is_thing=False, class_index=one) for one in kept]
