"""An analysis in sentences, also where numbers are undefined."""

from __future__ import annotations

from typing import Any

from harness.measure.analysis import analyze_tasks
from harness.measure.coco import score
from harness.report.analysis import sentences_of
from tests.measure.detected import generated


def told_of(content: dict[str, Any], predictions: list[dict[str, Any]]) -> str:
    ids = [one["id"] for one in content["images"]]
    curves = score(content, predictions, tasks=("bbox",), image_ids=ids).curves
    [one] = analyze_tasks(content, predictions, curves, ids, threshold=0.5)
    return " ".join(sentences_of(one, 0.5))


def test_the_costliest_errors_are_named() -> None:
    told = told_of(*generated(20, 0))
    assert " errors cost most, " in told
    assert "not defined" not in told


def test_without_predictions_missed_objects_are_not_said_to_cost_nothing() -> None:
    content, _ = generated(10, 0)
    told = told_of(content, [])
    assert "what missed errors cost is not defined" in told
    assert "no type of error costs" not in told


def test_without_objects_false_detections_are_not_said_to_cost_nothing() -> None:
    content, predictions = generated(10, 0)
    told = told_of({**content, "annotations": []}, predictions)
    assert "what background errors cost is not defined" in told
    assert "there is no object that counts" in told
    assert "every detection counts as one of background" in told
    assert "no type of error costs" not in told


def test_perfect_detections_cost_nothing() -> None:
    content, _ = generated(10, 0)
    rows = [{**row, "score": 0.9} for row in content["annotations"] if not row["iscrowd"]]
    assert "no type of error costs any AP" in told_of(content, rows)


def test_one_error_and_one_image_are_singular() -> None:
    content, _ = generated(10, 0)
    (row,) = [one for one in content["annotations"] if not one["iscrowd"]][:1]
    image = [one for one in content["images"] if one["id"] == row["image_id"]]
    told = told_of({**content, "images": image, "annotations": [row]}, [])
    assert "1 error in 1 image among" in told
