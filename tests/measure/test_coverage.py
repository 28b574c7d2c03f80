"""Covered pixels, counted on full-size masks."""

from __future__ import annotations

import numpy as np

from harness.measure.coverage import areas_px, union_px
from harness.measure.rle import encode_region


def test_pixels_under_several_masks_count_once() -> None:
    random = np.random.default_rng(5)
    masks = random.random((4, 30, 20)) < 0.3
    encoded = [encode_region(m, top_px=0, left_px=0, height_px=30, width_px=20) for m in masks]
    assert areas_px(encoded) == masks.sum(axis=(1, 2)).tolist()
    assert union_px(encoded) == masks.any(axis=0).sum()


def test_no_mask_covers_nothing() -> None:
    assert areas_px([]) == []
    assert union_px([]) == 0
