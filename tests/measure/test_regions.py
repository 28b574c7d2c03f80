"""Regions of masks: the same pixels as the whole mask has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from harness.core.run_lengths import Rle
from harness.measure.masks import areas_px, decode_region, encode_region
from tests.measure.parts import encoded, placed_regions


@given(placed_regions())
def test_the_region_of_a_mask_comes_back_alone(case):
    mask, rle = encoded(case)
    pixels, first_row, first_column = decode_region(rle)
    rows, columns = pixels.shape
    again = np.zeros(mask.shape, dtype=bool)
    again[first_row : first_row + rows, first_column : first_column + columns] = pixels
    np.testing.assert_array_equal(again, mask)
    assert columns == np.ptp(mask.any(axis=0).nonzero()[0]) + 1 if mask.any() else not pixels.size


def test_the_region_of_a_small_mask_in_a_huge_image_is_small():
    region = np.ones((3, 4), dtype=bool)
    rle = encode_region(region, top_px=9_000, left_px=8_000, height_px=20_000, width_px=20_000)
    pixels, top, left = decode_region(rle)
    assert (pixels.shape, top, left) == ((3, 4), 9_000, 8_000)


@pytest.mark.parametrize("counts", ["", "_", "é", "o" * 20])
def test_text_that_is_no_runs_has_no_region(counts):
    with pytest.raises(ValueError, match="no run"):
        decode_region(Rle(4, 5, counts))


def test_runs_of_another_mask_have_no_region():
    whole = encode_region(np.ones((2, 3), bool), top_px=0, left_px=0, height_px=4, width_px=5)
    with pytest.raises(ValueError, match="no runs of a mask of 4 × 6 px"):
        decode_region(Rle(4, 6, whole.counts))


def test_areas_of_hundreds_of_masks():
    region = np.ones((2, 3), dtype=bool)
    mask = encode_region(region, top_px=0, left_px=0, height_px=4, width_px=4)
    assert areas_px([mask] * 300) == [6] * 300
