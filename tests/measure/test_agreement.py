"""When two sets of detections count as the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.core.detections import Detections
from harness.measure.agreement import combine, compare
from harness.measure.masks import encode_region


def detections(count: int = 5) -> Detections:
    region = np.ones((120, 110), dtype=bool)
    return Detections(
        image_id=1,
        boxes_xyxy_px=np.array([[i, i, i + 20.0, i + 30.0] for i in range(count)], np.float32),
        scores=np.linspace(0.9, 0.5, count, dtype=np.float32),
        class_index=np.arange(count, dtype=np.int64),
        masks=tuple(
            encode_region(region, top_px=i, left_px=i, height_px=200, width_px=200)
            for i in range(count)
        ),
    )


def changed(field: str, row: int, by: float) -> Detections:
    values = getattr(detections(), field).copy()
    values[row] += by
    return replace(detections(), **{field: values})


def test_the_same_agrees_wholly() -> None:
    agreement = compare(detections(), detections())
    assert agreement.share_within_bars == 1.0
    assert (agreement.max_box_px, agreement.max_score, agreement.min_mask_iou) == (0, 0, 1)


@pytest.mark.parametrize(
    ("field", "below", "above"),
    [("boxes_xyxy_px", 9e-4, 1.2e-3), ("scores", 9e-6, 1.2e-5), ("class_index", 0, 1)],
)
def test_each_bar_is_kept(field: str, below: float, above: float) -> None:
    assert compare(changed(field, 2, below), detections()).unmatched == 0
    agreement = compare(changed(field, 2, above), detections())
    assert agreement.unmatched == 1
    assert agreement.share_within_bars == pytest.approx(0.8)


def test_a_mask_that_lost_two_pixels_is_below_its_bar() -> None:
    region = np.ones((120, 110), dtype=bool)
    region[0, :2] = False  # 2 of 13,200 pixels: IoU 0.99985
    mask = encode_region(region, top_px=2, left_px=2, height_px=200, width_px=200)
    masks = detections().masks
    assert masks is not None
    found = replace(detections(), masks=(*masks[:2], mask, *masks[3:]))
    agreement = compare(found, detections())
    assert agreement.masks_below == 1
    assert 0.9998 < agreement.min_mask_iou < 0.9999
    assert agreement.mask_off_px == 2


def test_slack_lets_a_small_mask_lose_one_pixel() -> None:
    small = np.ones((10, 10), dtype=bool)
    for lost_px, slack_px, below in ((1, 0, 1), (1, 1, 0), (2, 1, 1)):
        short = small.copy()
        short[0, :lost_px] = False
        pair = [
            encode_region(one, top_px=2, left_px=2, height_px=200, width_px=200)
            for one in (short, small)
        ]
        found, expected = (
            replace(detections(), masks=(one, *(pair[1],) * (len(detections()) - 1)))
            for one in pair
        )
        agreement = compare(found, expected, mask_slack_px=slack_px)
        assert agreement.masks_below == below
        assert agreement.min_mask_iou == pytest.approx(1 - lost_px / 100)


def test_missing_and_surplus_detections_both_count() -> None:
    full = detections()
    assert full.masks is not None
    short = Detections(
        image_id=1,
        boxes_xyxy_px=full.boxes_xyxy_px[:4],
        scores=full.scores[:4],
        class_index=full.class_index[:4],
        masks=full.masks[:4],
    )
    assert compare(short, full).unmatched == 1
    assert compare(full, short).unmatched == 1


def test_tied_scores_may_swap_places() -> None:
    first = detections()
    scores = first.scores.copy()
    scores[3] = scores[2]
    tied = replace(first, scores=scores)
    order = [0, 1, 3, 2, 4]
    assert tied.masks is not None
    swapped = replace(
        tied,
        boxes_xyxy_px=tied.boxes_xyxy_px[order],
        class_index=tied.class_index[order],
        masks=tuple(tied.masks[i] for i in order),
    )
    agreement = compare(swapped, tied)
    assert agreement.share_within_bars == 1.0
    assert agreement.reordered == 2


def test_agreements_add_up() -> None:
    whole = combine(
        [compare(detections(), detections()), compare(changed("scores", 0, 1), detections())]
    )
    assert (whole.detections, whole.unmatched) == (10, 1)
    assert combine([]).share_within_bars == 1.0
