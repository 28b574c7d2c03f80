"""Annotations and verdicts as what is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.core.dataset import ImageRecord
from harness.core.drawing import DrawingStyle
from harness.measure.masks import encode_region
from harness.measure.matching import Judged, JudgedImage
from harness.visualization.truth import (
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    IGNORED,
    TRUE_POSITIVE,
    judged_objects,
    judged_truth,
    predicted_objects,
    truth_objects,
)

RECORD = ImageRecord(1, "one.jpg", 100, 120)
NAMES = {3: "cat", 9: "dog"}
STYLE = DrawingStyle()


def row(category: int, box: list[int], **more: Any) -> dict[str, Any]:
    return {"category_id": category, "bbox": box, **more}


def test_large_objects_come_first_and_crowds_are_dashed() -> None:
    rows = [row(3, [0, 0, 5, 5]), row(9, [0, 0, 50, 50], iscrowd=1)]
    drawn = truth_objects(RECORD, rows, NAMES, STYLE)
    assert [one.text for one in drawn] == ["dog (crowd)", "cat"]
    assert [one.dashed for one in drawn] == [True, False]
    assert drawn[1].box_xyxy_px == (0, 0, 5, 5)


def test_classes_keep_their_colour() -> None:
    rows = [row(3, [0, 0, 5, 5]), row(3, [0, 0, 50, 50]), row(9, [0, 0, 9, 9])]
    drawn = truth_objects(RECORD, rows, NAMES, DrawingStyle(colour_by="class"))
    colours = {(one.text, one.colour) for one in drawn}
    assert len(colours) == 2
    instances = {one.colour for one in truth_objects(RECORD, rows, NAMES, STYLE)}
    assert len(instances) == 3


def test_each_verdict_has_its_colour_and_its_words() -> None:
    predictions = [{**row(3, [0, 0, 9, 9]), "score": 0.9 - 0.1 * number} for number in range(5)]
    judged = (
        Judged(0, "true positive"),
        Judged(1, "duplicate"),
        Judged(2, "classification", 9),
        Judged(3, "background"),
        Judged(4, "ignored"),
    )
    hits = JudgedImage(1, judged, (7,))
    missed = [row(9, [20, 20, 5, 5])]
    drawn = judged_objects(RECORD, predictions, missed, hits, names=NAMES, style=STYLE)
    assert [(one.text, one.colour) for one in drawn] == [
        ("cat 90%", TRUE_POSITIVE),
        ("cat 80%, duplicate", FALSE_POSITIVE),
        ("cat 70%, is dog", FALSE_POSITIVE),
        ("cat 60%, nothing there", FALSE_POSITIVE),
        ("cat 50%, in a crowd", IGNORED),
        ("", FALSE_NEGATIVE),
    ]
    assert drawn[-1].dashed


def test_objects_are_found_missed_or_a_crowd() -> None:
    rows = [
        (4, row(3, [0, 0, 9, 9])),
        (7, row(9, [0, 0, 8, 8])),
        (8, row(3, [0, 0, 7, 7], iscrowd=1)),
    ]
    hits = JudgedImage(1, (Judged(0, "true positive"),), (7,))
    drawn = judged_truth(RECORD, rows, hits, names=NAMES, style=STYLE)
    assert [one.colour for one in drawn] == [TRUE_POSITIVE, FALSE_NEGATIVE, IGNORED]


def test_a_prediction_without_a_box_has_that_of_its_mask() -> None:
    region = np.ones((10, 20), dtype=bool)
    rle = encode_region(region, top_px=30, left_px=40, height_px=100, width_px=120)
    mask = {"size": [100, 120], "counts": rle.counts}
    [drawn] = predicted_objects(
        RECORD, [{"category_id": 3, "score": 0.5, "segmentation": mask}], NAMES, STYLE
    )
    assert drawn.box_xyxy_px == (40, 30, 60, 40)


def test_labels_and_boxes_can_be_left_out() -> None:
    style = DrawingStyle(labels=False, boxes=False)
    [drawn] = truth_objects(RECORD, [row(3, [0, 0, 5, 5])], NAMES, style)
    assert (drawn.text, drawn.box) == ("", False)
