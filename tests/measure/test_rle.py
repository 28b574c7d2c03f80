from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from harness.core.run_lengths import Rle, decode, run_lengths
from harness.measure.masks import areas_px, encode_region, rle_of, union_px
from tests.measure.parts import encoded, placed_regions


def full_mask_counts(mask: np.ndarray) -> str:
    return coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode("ascii")


@given(placed_regions())
def test_a_region_encodes_as_the_full_mask_does(case):
    mask, rle = encoded(case)
    assert rle.counts == full_mask_counts(mask)
    assert (rle.height_px, rle.width_px) == mask.shape


@pytest.mark.parametrize("fill", [False, True])
def test_a_full_height_region_joins_runs_across_columns(fill):
    region = np.full((5, 3), fill)
    rle = encode_region(region, top_px=0, left_px=1, height_px=5, width_px=6)
    mask = np.zeros((5, 6), dtype=bool)
    mask[:, 1:4] = fill
    assert rle.counts == full_mask_counts(mask)


@given(placed_regions())
def test_a_mask_comes_back(case):
    mask, rle = encoded(case)
    np.testing.assert_array_equal(decode(rle), mask)


def test_runs_that_do_not_cover_a_mask_are_refused():
    whole = encode_region(np.ones((2, 3), bool), top_px=0, left_px=0, height_px=4, width_px=5)
    for broken in (Rle(4, 6, whole.counts), Rle(4, 5, whole.counts[:-1]), Rle(4, 5, "é")):
        with pytest.raises(ValueError, match="no runs of a mask"):
            decode(broken)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=30))
def test_compressed_runs_are_the_plain_ones(runs):
    compressed = coco_mask.frPyObjects({"size": [1, sum(runs)], "counts": runs}, 1, sum(runs))
    assert run_lengths(compressed["counts"].decode("ascii")) == run_lengths(runs) == runs


@pytest.mark.parametrize("counts", ["o", "é", " ", "11l", [1.0], [-1, 2], ["1"], [None], [True]])
def test_what_is_no_run_lengths_is_none(counts):
    assert run_lengths(counts) is None


@given(st.text(max_size=20))
def test_any_text_is_runs_or_none(text):
    runs = run_lengths(text)
    assert runs is None or all(run >= 0 for run in runs)


SQUARE = [1, 1, 5, 1, 5, 5, 1, 5]


def test_every_kind_of_segmentation_is_the_same_mask():
    expected = np.zeros((8, 9), dtype=bool)
    expected[1:5, 1:5] = True
    compressed = full_mask_counts(expected)
    for segmentation in (
        [SQUARE],
        [[], [1, 2], SQUARE, [1, 2, 3, 4]],
        [[1, 1, 3, 1, 3, 5, 1, 5], [3, 1, 5, 1, 5, 5, 3, 5]],
        {"size": [8, 9], "counts": [9, 4, 4, 4, 4, 4, 4, 4, 35]},
        {"size": [8, 9], "counts": compressed},
    ):
        np.testing.assert_array_equal(decode(rle_of(segmentation, 8, 9)), expected)
    for nothing in ([], [[]], [[1, 2, 3, 4]], [[1, 1, 5, 5, 3, 3]]):
        assert not decode(rle_of(nothing, 8, 9)).any()


def test_pixels_under_several_masks_count_once() -> None:
    random = np.random.default_rng(5)
    masks = random.random((4, 30, 20)) < 0.3
    encoded = [encode_region(m, top_px=0, left_px=0, height_px=30, width_px=20) for m in masks]
    assert areas_px(encoded) == masks.sum(axis=(1, 2)).tolist()
    assert union_px(encoded) == masks.any(axis=0).sum()


def test_no_mask_covers_nothing() -> None:
    assert areas_px([]) == []
    assert union_px([]) == 0
