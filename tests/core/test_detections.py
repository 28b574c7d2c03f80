"""What detections know of themselves, and how they leave the program."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from harness.core.dataset import Category
from harness.core.detections import Detections
from harness.core.errors import RunFailedError, UsageError
from harness.core.panoptic import PanopticMap, Segment
from harness.measure.masks import encode_region

CATEGORIES = (Category(3, "duck"), Category(17, "goose"))


def masked(top_px: int) -> np.ndarray:
    mask = np.zeros((20, 30), dtype=bool)
    mask[top_px : top_px + 4, 5:10] = True
    return mask


def found(*, categories: tuple[Category, ...] = CATEGORIES, with_masks: bool = True) -> Detections:
    masks = tuple(
        encode_region(masked(top), top_px=0, left_px=0, height_px=20, width_px=30) for top in (2, 8)
    )
    return Detections(
        image_id=7,
        boxes_xyxy_px=np.array([[5, 2, 10, 6], [5, 8, 10, 12.1]], dtype=np.float32),
        scores=np.array([0.9, 0.3], dtype=np.float32),
        class_index=np.array([1, 0]),
        masks=masks if with_masks else None,
        categories=categories,
        size_px=(20, 30),
        source="pond.jpg",
    )


def test_names_and_ids_are_those_of_each_object() -> None:
    assert found().names == ["goose", "duck"]
    assert found().category_ids.tolist() == [17, 3]
    assert repr(found()) == "<Detections of 'pond.jpg': 2 objects: 1 goose, 1 duck>"


def test_without_categories_names_are_an_error() -> None:
    with pytest.raises(UsageError, match="categories"):
        found(categories=()).to_coco()


def test_above_keeps_equal_scores_and_all_arrays_together() -> None:
    kept = found().above(float(np.float32(0.9)))
    assert (len(kept), kept.names, kept.boxes_xyxy_px.shape) == (1, ["goose"], (1, 4))
    assert kept.masks is not None
    np.testing.assert_array_equal(kept.decode_masks()[0], masked(2))


def test_masks_are_decoded_to_pixels_also_none() -> None:
    np.testing.assert_array_equal(found().decode_masks(), [masked(2), masked(8)])
    nothing = found().above(1.0)
    assert nothing.decode_masks().shape == (0, 20, 30)
    with pytest.raises(UsageError, match="boxes only"):
        found(with_masks=False).decode_masks()


def test_coco_rows_have_the_fewest_digits_that_give_the_same_float32() -> None:
    first, second = found().to_coco(image_id=99)
    assert first["image_id"] == 99
    assert (first["category_id"], first["bbox"], first["score"]) == (17, [5, 2, 5, 4], 0.9)
    assert second["bbox"] == [5.0, 8.0, 5.0, 4.1000004]
    assert first["segmentation"]["size"] == [20, 30]
    assert found().to_coco()[0]["image_id"] == 7
    assert "segmentation" not in found(with_masks=False).to_coco()[0]


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(RunFailedError, match="class_index must be"):
        Detections(
            image_id=1,
            boxes_xyxy_px=np.zeros((2, 4), dtype=np.float32),
            scores=np.zeros(2, dtype=np.float32),
            class_index=np.zeros(3, dtype=np.int64),
            masks=None,
        )


def test_detections_are_equal_where_every_number_and_mask_is() -> None:
    assert found() == found()
    assert found() == pickle.loads(pickle.dumps(found()))
    other = replace(found(), scores=np.array([0.9, 0.31], dtype=np.float32))
    assert found() != other
    assert found() != found(with_masks=False)
    assert found() != "pond.jpg"
    pointed = replace(found(), keypoints=np.zeros((2, 17, 3), dtype=np.float32))
    assert found() != pointed
    assert pointed != found()
    assert pointed in [found(), pointed]


def test_maps_of_segments_are_equal_where_every_pixel_is() -> None:
    def a_map(top_px: int) -> PanopticMap:
        ids = masked(top_px).astype(np.int32)
        return PanopticMap(ids=ids, segments=(Segment(segment_id=1, is_thing=True, class_index=0),))

    assert a_map(2) == a_map(2)
    assert a_map(2) != a_map(3)
    assert replace(found(), panoptic=a_map(2)) != replace(found(), panoptic=a_map(3))
