"""Which polygons count, by one rule for everything that reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.core.run_lengths import decode
from harness.measure.evaluators import ground_truth, numbering_of
from harness.measure.masks import rasterised, rle_of, usable_polygons

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
