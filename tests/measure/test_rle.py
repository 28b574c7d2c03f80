from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from harness.measure.rle import closed_polygons, encode_region, pixel_count


def full_mask_counts(mask: np.ndarray) -> str:
    return coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode("ascii")


@st.composite
def placed_regions(draw):
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    rows, columns = draw(st.integers(1, height - top)), draw(st.integers(1, width - left))
    seed, density = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1]))
    region = np.random.default_rng(seed).random((rows, columns)) < density
    return height, width, top, left, region


@given(placed_regions())
def test_a_region_encodes_as_the_full_mask_does(case):
    height, width, top, left, region = case
    mask = np.zeros((height, width), dtype=bool)
    mask[top : top + region.shape[0], left : left + region.shape[1]] = region
    rle = encode_region(region, top_px=top, left_px=left, height_px=height, width_px=width)
    assert rle.counts == full_mask_counts(mask)
    assert (rle.height_px, rle.width_px) == (height, width)


@pytest.mark.parametrize("fill", [False, True])
def test_a_full_height_region_joins_runs_across_columns(fill):
    region = np.full((5, 3), fill)
    rle = encode_region(region, top_px=0, left_px=1, height_px=5, width_px=6)
    mask = np.zeros((5, 6), dtype=bool)
    mask[:, 1:4] = fill
    assert rle.counts == full_mask_counts(mask)


@given(placed_regions())
def test_runs_cover_every_pixel_once(case):
    height, width, top, left, region = case
    rle = encode_region(region, top_px=top, left_px=left, height_px=height, width_px=width)
    assert pixel_count(rle.counts) == height * width


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=30))
def test_compressed_runs_cover_as_many_pixels_as_plain_ones(runs):
    compressed = coco_mask.frPyObjects({"size": [1, sum(runs)], "counts": runs}, 1, sum(runs))
    assert pixel_count(compressed["counts"].decode("ascii")) == pixel_count(runs) == sum(runs)


@pytest.mark.parametrize("counts", ["o", "é", " ", "11l", [1.0], [-1, 2], ["1"], [None], [True]])
def test_what_is_no_run_lengths_covers_nothing(counts):
    assert pixel_count(counts) is None


@given(st.text(max_size=20))
def test_any_text_is_counted_or_refused(text):
    count = pixel_count(text)
    assert count is None or count >= 0


def test_polygons_that_enclose_nothing_are_left_out():
    square = [0, 0, 4, 0, 4, 4, 0, 4]
    assert closed_polygons([[], [1, 2], square, [1, 2, 3, 4]]) == [square]
