"""What became of detections and objects: each kind of verdict, and agreement with COCOeval."""

from __future__ import annotations

from typing import Any

import pytest

from harness.measure.matching import JudgedImage, judge_images

#: Two objects in image 1, one that is a crowd in image 2, nothing in image 3.
CAT, DOG = 3, 9
OBJECTS = [
    (1, CAT, [10, 10, 40, 40], 0),
    (1, DOG, [100, 10, 40, 40], 0),
    (2, CAT, [0, 0, 100, 100], 1),
]


def test_a_match_is_a_hit_and_the_rest_is_missed() -> None:
    [one, *_] = judged([(1, CAT, [12, 10, 40, 40], 0.9)])
    assert [found.kind for found in one.detections] == ["true positive"]
    assert one.false_negatives == (1,)
    assert (one.true_positives, one.false_positives, one.errors) == (1, 0, 1)


@pytest.mark.parametrize(
    ("box", "category", "kind"),
    [
        ([100, 10, 40, 40], CAT, "classification"),
        ([10, 10, 40, 15], CAT, "localization"),
        ([200, 200, 10, 10], CAT, "background"),
        ([10, 10, 40, 15], DOG, "both"),
    ],
)
def test_what_a_false_detection_is_instead(box: list[int], category: int, kind: str) -> None:
    [one, *_] = judged([(1, category, box, 0.9)])
    assert [found.kind for found in one.detections] == [kind]
    assert len(one.false_negatives) == 2


def test_a_confusion_names_the_category_that_is_there() -> None:
    [one, *_] = judged([(1, CAT, [100, 10, 40, 40], 0.9)])
    assert one.detections[0].instead == DOG


def test_the_better_detection_has_the_object_and_comes_first() -> None:
    [one, *_] = judged([(1, CAT, [10, 10, 40, 40], 0.6), (1, CAT, [12, 10, 40, 40], 0.9)])
    assert [(found.row, found.kind) for found in one.detections] == [
        (1, "true positive"),
        (0, "duplicate"),
    ]


def test_what_lies_in_a_crowd_counts_neither_way() -> None:
    _, two, _ = judged([(2, CAT, [5, 5, 20, 20], 0.9), (2, CAT, [50, 50, 20, 20], 0.8)])
    assert [found.kind for found in two.detections] == ["ignored", "ignored"]
    assert two.errors == 0
    assert two.false_negatives == ()


def test_without_predictions_all_objects_are_missed() -> None:
    one, two, three = judged([])
    assert (one.false_negatives, two.false_negatives, three.false_negatives) == ((0, 1), (), ())


def test_an_image_without_objects_has_only_false_detections() -> None:
    *_, three = judged([(3, DOG, [1, 1, 5, 5], 0.3)])
    assert [found.kind for found in three.detections] == ["background"]


def test_masks_are_what_overlaps_when_asked() -> None:
    """The same box, but a mask of its left half alone."""
    half = [[10, 10, 28, 10, 28, 50, 10, 50]]
    [boxes, *_] = judged([(1, CAT, [10, 10, 40, 40], 0.9)], outline=half)
    [masks, *_] = judged([(1, CAT, [10, 10, 40, 40], 0.9)], outline=half, task="segm")
    assert [found.kind for found in boxes.detections] == ["true positive"]
    assert [found.kind for found in masks.detections] == ["localization"]


def judged(
    rows: list[tuple[int, int, list[int], float]],
    *,
    task: Any = "bbox",
    outline: list[list[int]] | None = None,
) -> list[JudgedImage]:
    """Verdicts on the three images. outline: of every prediction, instead of its box's."""
    from harness.measure.masks import rle_of

    predictions = []
    for image, category, box, score in rows:
        rle = rle_of(outline or [corners(box)], 300, 300)
        predictions.append(
            {
                "image_id": image,
                "category_id": category,
                "bbox": box,
                "score": score,
                "segmentation": {"size": [300, 300], "counts": rle.counts},
            }
        )
    return judge_images(annotations(), predictions, task, [1, 2, 3])


def corners(box: list[int]) -> list[int]:
    x, y, width, height = box
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def annotations() -> dict[str, Any]:
    rows = [
        {
            "id": 10 * number,
            "image_id": image,
            "category_id": category,
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": crowd,
            "segmentation": [corners(box)],
        }
        for number, (image, category, box, crowd) in enumerate(OBJECTS)
    ]
    return {
        "images": [{"id": image, "height": 300, "width": 300} for image in (1, 2, 3)],
        "annotations": rows,
        "categories": [{"id": CAT, "name": "cat"}, {"id": DOG, "name": "dog"}],
    }
