"""Whether an engine answered what its own numbers say: boxes, scores, classes, masks, keypoints.

A replay (``engines.parity.replay``) ends with soft masks and heat. What an engine makes of them,
the pasted masks and the places of keypoints in the original image, is compared here. Rows of a
product may round otherwise among other rows, so numbers may be as far apart as those of two
networks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.core.detections import Detections
from harness.core.run_lengths import decode
from harness.engines.parity.tracing import BICUBIC_GAIN, SAME_PX, Heated, grown
from harness.nn.boxes import nonempty
from harness.nn.heads import located
from harness.nn.masks import sampled

#: Scores of keypoints that are no farther apart, as a share of them, are the same.
SAME_POINT_SCORE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The detections of a replay, D of them, and how far an answer may be from them."""

    boxes: Tensor
    """(D, 4) px of the original image, clipped; empty ones are no detections."""

    resized: Tensor
    """(D, 4) px of the resized input."""

    scores: Tensor
    """(D,)."""

    classes: Tensor
    """(D,) int64."""

    soft: Tensor | None
    """(D, M, M) mask probabilities; None without masks."""

    heat: Tensor | None
    """(D, K, M, M) keypoint heat; None without keypoints."""

    box_off: float
    """How far boxes may be apart, px of the original."""

    score_off: float
    """How far scores may be apart."""

    soft_off: float
    """How far mask probabilities may be apart."""

    heat_off: float
    """How far heat may be apart."""

    mask_threshold: float
    """Probability from which a pixel belongs to a mask."""

    scale: tuple[float, float]
    """Pixels of the original in one of the resized input, across and down."""


def is_as_expected(answer: Detections, expected: Expected) -> bool:
    """Return whether an answer has the expected detections, in any order, and no others."""
    rows = _rows(answer, expected)
    if rows is None:
        return False
    return _has_masks(answer, expected, rows) and _has_keypoints(answer, expected, rows)


def _rows(answer: Detections, expected: Expected) -> list[int] | None:
    """Return the expected row of each detection of an answer; None where one has none."""
    kept = torch.nonzero(nonempty(expected.boxes))[:, 0].numpy()
    if len(answer) != len(kept):
        return None
    places, scores, classes = (
        one.numpy()[kept] for one in (expected.boxes, expected.scores, expected.classes)
    )
    taken = np.zeros(len(kept), dtype=bool)
    rows = []
    for box, score, index in zip(
        answer.boxes_xyxy_px, answer.scores, answer.class_index, strict=True
    ):
        apart = np.abs(places - box).max(axis=1, initial=0.0)
        fits = (np.abs(scores - score) <= expected.score_off) & (classes == index) & ~taken
        if not fits.any() or apart[fits].min() > expected.box_off:
            return None
        best = int(np.flatnonzero(fits)[apart[fits].argmin()])
        taken[best] = True
        rows.append(int(kept[best]))
    return rows


def _has_masks(answer: Detections, expected: Expected, rows: Sequence[int]) -> bool:
    """Return whether every pixel of every mask is on the side on which its probability is."""
    if expected.soft is None or answer.masks is None:
        return expected.soft is None and answer.masks is None
    threshold, off = expected.mask_threshold, expected.soft_off
    for row, box, rle in zip(rows, answer.boxes_xyxy_px, answer.masks, strict=True):
        mask = decode(rle)
        (top, bottom), (left, right) = (
            (max(0, math.floor(box[one]) - 1), min(length, math.ceil(box[one + 2]) + 1))
            for one, length in ((1, rle.height_px), (0, rle.width_px))
        )
        ys, xs = torch.arange(top, bottom) + 0.5, torch.arange(left, right) + 0.5
        soft, place = expected.soft[row][None], torch.from_numpy(box)[None]
        likely: npt.NDArray[np.float32] = sampled(soft, place, ys, xs)[0].numpy()
        region = mask[top:bottom, left:right]
        other = region != (likely >= threshold)
        outside = int(mask.sum()) - int(region.sum())
        if outside or bool((np.abs(likely - threshold)[other] > off).any()):
            return False
    return True


def _has_keypoints(answer: Detections, expected: Expected, rows: Sequence[int]) -> bool:
    """Return whether every keypoint is where its heat is highest, with the score of that place."""
    if expected.heat is None or answer.keypoints is None:
        return expected.heat is None and answer.keypoints is None
    across, down = expected.scale
    off = 2 * BICUBIC_GAIN * expected.heat_off
    for row, found in zip(rows, answer.keypoints, strict=True):
        one = Heated(expected.heat[row], expected.resized[row])
        true = located(one.heat[None], one.box[None])[0].numpy()  # (K, 3)
        apart = np.abs(found[:, :2] / (across, down) - true[:, :2])
        allowed = SAME_PX + expected.box_off / np.array((across, down))
        elsewhere = (apart > allowed).any(axis=1)
        if elsewhere.any() and bool((_lead(one, found / (across, down, 1))[elsewhere] > off).any()):
            return False
        share = np.abs(found[:, 2] - true[:, 2]) / np.maximum(true[:, 2], 1e-30)
        if bool((share > max(SAME_POINT_SCORE, grown(off))).any()):
            return False
    return True


def _lead(one: Heated, found: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return (K,): by how much the highest heat is above that at places (K, 3) of the input."""
    height, width = one.size
    heat, box = one.sampled(), one.box.tolist()  # (K, height · width)
    x = (found[:, 0] - box[0]) / max(box[2] - box[0], 1.0) * width
    y = (found[:, 1] - box[1]) / max(box[3] - box[1], 1.0) * height
    columns, rows = x.astype(np.int64).clip(0, width - 1), y.astype(np.int64).clip(0, height - 1)
    there = heat[torch.arange(len(heat)), torch.from_numpy(rows * width + columns)]
    lead: npt.NDArray[np.float32] = (heat.amax(dim=1) - there).numpy()
    return lead
