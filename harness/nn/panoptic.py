"""Masks and a semantic map put together to one map of segments (``meta_arch/panoptic_fpn.py``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.core.architecture import Architecture
from harness.core.panoptic import PanopticMap, Segment
from harness.nn.masks import PastedMask

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
