"""How far two sets of detections of the same image agree.

The bars: boxes within 1e-3 px, scores within 1e-5, the same classes in the same order, mask IoU at
least 0.9999; keypoints within 1e-3 px, and their scores within a thousandth of themselves, for they
are exponentials of what was computed. Where two scores of one image are closer than the score bar,
their order is decided by the last bit, and a difference in it is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.core.detections import Detections
from harness.core.panoptic import PanopticMap
from harness.core.run_lengths import Rle, decode

BOX_BAR_PX = 1e-3
SCORE_BAR = 1e-5
MASK_IOU_BAR = 0.9999
KEYPOINT_SCORE_SHARE = 1e-3

#: By which a mask of an exported file may differ: a pixel whose probability is 0.5 to seven digits.
#: One of a mask of 700 px is more than the IoU's bar allows.
EXPORTED_MASK_SLACK_PX = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Differences over the detections of one or more images."""

    detections: int
    """Detections of the reference."""

    unmatched: int
    """Detections, on either side, without a partner of the same class within the box and score
    bars.
    """

    masks_below: int
    """Pairs whose masks are under their bar."""

    reordered: int
    """Pairs that swapped places within a tie of scores."""

    max_box_px: float
    """Largest difference of a box coordinate over the pairs, in px; 0 without pairs."""

    max_score: float
    """Largest difference of scores over the pairs, 0…1; 0 without pairs."""

    min_mask_iou: float
    """Smallest mask IoU over the pairs, 0…1; 1 without masks."""

    mask_off_px: int
    """Pixels in which the masks of pairs differ, summed over the pairs."""

    keypoints_below: int = 0
    """Pairs of which a keypoint is outside its bars."""

    max_keypoint_px: float = 0.0
    """Largest difference of a keypoint's coordinate over the pairs, in px; 0 without keypoints."""

    map_px: int = 0
    """Pixels of the maps of segments; 0 without maps."""

    map_off_px: int = 0
    """Those of them that are of another segment."""

    @property
    def share_within_bars(self) -> float:
        """Share of detections with a partner, a mask and keypoints within the bars, 0…1."""
        if self.detections == 0:
            return 1.0 if self.unmatched == 0 else 0.0
        off = self.unmatched + self.masks_below + self.keypoints_below
        return max(0.0, 1.0 - off / self.detections)


def compare(found: Detections, expected: Detections, *, mask_slack_px: int = 0) -> Agreement:
    """The agreement of one image's detections with those of the reference.

    Args:
        found: Detections to check.
        expected: Detections of the reference, of the same image.
        mask_slack_px: A mask that differs by no more pixels is within its bar, whatever its IoU.
    """
    pairs = _pair(found, expected)
    rows = np.array([pair[0] for pair in pairs], dtype=np.int64)
    columns = np.array([pair[1] for pair in pairs], dtype=np.int64)
    boxes = np.abs(found.boxes_xyxy_px[rows] - expected.boxes_xyxy_px[columns])
    scores = np.abs(found.scores[rows] - expected.scores[columns])
    masks = [
        (found.masks[row], expected.masks[column])
        for row, column in pairs
        if found.masks is not None and expected.masks is not None
    ]
    ious = [mask_iou(*pair) for pair in masks]
    off_px = [_differing_px(*pair) for pair in masks]
    points_below, points_px = _keypoints(found, expected, rows, columns)
    map_px, map_off_px = _maps(found.panoptic, expected.panoptic)
    return Agreement(
        detections=len(expected),
        unmatched=max(len(found), len(expected)) - len(pairs),
        masks_below=sum(
            iou < MASK_IOU_BAR and off > mask_slack_px
            for iou, off in zip(ious, off_px, strict=True)
        ),
        reordered=int((rows != columns).sum()),
        max_box_px=float(boxes.max(initial=0.0)),
        max_score=float(scores.max(initial=0.0)),
        min_mask_iou=min(ious, default=1.0),
        mask_off_px=sum(off_px),
        keypoints_below=points_below,
        max_keypoint_px=points_px,
        map_px=map_px,
        map_off_px=map_off_px,
    )


def _maps(found: PanopticMap | None, expected: PanopticMap | None) -> tuple[int, int]:
    """Pixels of the map of the reference, and those that are of another segment.

    Segments have partners of the same class by most common pixels: their numbers may differ, for
    they follow the order of scores, which may tie.
    """
    if expected is None or found is None:
        return 0, 0
    classes = [
        {one.segment_id: (one.is_thing, one.class_index) for one in two.segments}
        for two in (expected, found)
    ]
    together = np.stack((expected.ids.ravel(), found.ids.ravel()))
    pairs, counts = np.unique(together, axis=1, return_counts=True)
    taken: tuple[set[int], set[int]] = set(), set()
    same = 0
    for place in np.argsort(-counts, kind="stable"):
        theirs, ours = (int(one) for one in pairs[:, place])
        alike = classes[0].get(theirs) == classes[1].get(ours)
        if alike and theirs not in taken[0] and ours not in taken[1]:
            taken[0].add(theirs)
            taken[1].add(ours)
            same += int(counts[place])
    return expected.ids.size, expected.ids.size - same


def _keypoints(
    found: Detections,
    expected: Detections,
    rows: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
) -> tuple[int, float]:
    """Pairs with a keypoint outside its bars, and the largest difference in px."""
    if found.keypoints is None or expected.keypoints is None or not len(rows):
        return 0, 0.0
    ours, theirs = found.keypoints[rows], expected.keypoints[columns]  # (p, K, 3) each
    moved = np.abs(ours[..., :2] - theirs[..., :2]).max(axis=2)  # (p, K)
    scores = np.abs(ours[..., 2] - theirs[..., 2]) > KEYPOINT_SCORE_SHARE * theirs[..., 2]
    below = ((moved > BOX_BAR_PX) | scores).any(axis=1)
    return int(below.sum()), float(moved.max())


def combine(parts: list[Agreement]) -> Agreement:
    """The agreement over several images: counts are summed, the worst differences kept.

    Args:
        parts: One an image; none is an agreement without detections.
    """
    return Agreement(
        detections=sum(part.detections for part in parts),
        unmatched=sum(part.unmatched for part in parts),
        masks_below=sum(part.masks_below for part in parts),
        reordered=sum(part.reordered for part in parts),
        max_box_px=max((part.max_box_px for part in parts), default=0.0),
        max_score=max((part.max_score for part in parts), default=0.0),
        min_mask_iou=min((part.min_mask_iou for part in parts), default=1.0),
        mask_off_px=sum(part.mask_off_px for part in parts),
        keypoints_below=sum(part.keypoints_below for part in parts),
        max_keypoint_px=max((part.max_keypoint_px for part in parts), default=0.0),
        map_px=sum(part.map_px for part in parts),
        map_off_px=sum(part.map_off_px for part in parts),
    )


def mask_iou(first: Rle, second: Rle) -> float:
    """Intersection over union of two masks of one size, 0…1; two empty masks have 1."""
    if first.counts == second.counts:
        return 1.0
    from pycocotools import mask as coco_mask

    encoded = [
        {"size": [one.height_px, one.width_px], "counts": one.counts.encode("ascii")}
        for one in (first, second)
    ]
    return float(coco_mask.iou(encoded[:1], encoded[1:], [0])[0, 0])


def _differing_px(first: Rle, second: Rle) -> int:
    return 0 if first.counts == second.counts else int((decode(first) != decode(second)).sum())


def _pair(found: Detections, expected: Detections) -> list[tuple[int, int]]:
    """(row of found, row of expected) for each expected detection that has a partner.

    A partner is looked for at the same rank first, then among the scores that tie with it.
    """
    free = np.ones(len(found), dtype=bool)
    pairs = []
    for column in range(len(expected)):
        candidates = _candidates(found, expected, column) & free
        if not candidates.any():
            continue
        same_rank = column < len(found) and candidates[column]
        row = column if same_rank else int(np.flatnonzero(candidates)[0])
        free[row] = False
        pairs.append((row, column))
    return pairs


def _candidates(found: Detections, expected: Detections, column: int) -> npt.NDArray[np.bool_]:
    moved = np.abs(found.boxes_xyxy_px - expected.boxes_xyxy_px[column]).max(axis=1, initial=0.0)
    near: npt.NDArray[np.bool_] = (
        (found.class_index == expected.class_index[column])
        & (moved <= BOX_BAR_PX)
        & (np.abs(found.scores - expected.scores[column]) <= SCORE_BAR)
    )
    return near
