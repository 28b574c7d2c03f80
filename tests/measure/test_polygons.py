"""Which polygons count, by one rule for everything that reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.core.run_lengths import decode
from harness.measure.evaluators import ground_truth, numbering_of
from harness.measure.masks import rasterised, rasterised_each, rle_of, usable_polygons

SQUARE = [1.0, 1.0, 5.0, 1.0, 5.0, 5.0, 1.0, 5.0]

UNUSABLE = {
    "empty": [],
    "a corner": [1.0, 2.0],
    "two corners, which pycocotools takes for a box": [1.0, 1.0, 6.0, 6.0],
    "five numbers": [1.0, 1.0, 5.0, 5.0, 3.0],
    "seven numbers": [*SQUARE[:6], 1.0],
    "nine numbers": [*SQUARE, 7.0],
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_is_no_list_of_three_corners_counts_nowhere(name: str) -> None:
    polygon = UNUSABLE[name]
    assert usable_polygons([polygon, SQUARE]) == [SQUARE]
    alone, beside = rle_of([polygon], 8, 8), rle_of([polygon, SQUARE], 8, 8)
    assert not decode(alone).any()
    assert beside == rle_of([SQUARE], 8, 8)
    assert not rasterised([np.array(polygon)], 8, 8).any()
    row: dict[str, Any] = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4]}
    rows = [{**row, "segmentation": found} for found in ([polygon], [polygon, SQUARE])]
    images = [{"id": 1, "height": 8, "width": 8}]
    content = {"images": images, "categories": [{"id": 1}], "annotations": rows}
    (scored,) = ground_truth(content, "segm", numbering_of(content))["annotations"]
    assert scored["segmentation"] == [SQUARE]


def test_many_masks_drawn_at_once_are_those_drawn_one_by_one() -> None:
    random = np.random.Generator(np.random.PCG64(4))

    def polygon() -> list[float]:
        return random.uniform(-20, 50, 2 * int(random.integers(1, 12))).tolist()

    # More than a call takes, with parts that do not count, without any, and with many.
    masks = [[polygon() for _ in range(int(random.integers(4)))] for _ in range(600)]
    masks[7] = [polygon() for _ in range(300)]
    at_once = rasterised_each(masks, 28, 30)
    expected = np.stack([rasterised(one, 28, 30) for one in masks])
    assert at_once.shape == (600, 28, 30)
    assert 100 < expected.any(axis=(1, 2)).sum() < 600
    assert np.array_equal(at_once, expected)
    assert rasterised_each([], 28, 30).shape == (0, 28, 30)
