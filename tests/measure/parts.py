"""What several tests of masks are tried on."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from harness.measure.masks import encode_region


@st.composite
def placed_regions(draw):
    """Height and width of an image, top and left of a region in it, and the region (h, w) bool."""
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    rows, columns = draw(st.integers(1, height - top)), draw(st.integers(1, width - left))
    seed, density = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1]))
    region = np.random.default_rng(seed).random((rows, columns)) < density
    return height, width, top, left, region


def encoded(case):
    """A region as ``placed_regions`` draws it: the whole mask (h, w) bool, and its run lengths."""
    height, width, top, left, region = case
    mask = np.zeros((height, width), dtype=bool)
    mask[top : top + region.shape[0], left : left + region.shape[1]] = region
    return mask, encode_region(region, top_px=top, left_px=left, height_px=height, width_px=width)
