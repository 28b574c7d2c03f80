"""Everything that is measured is the same, bit for bit, however many processes measure it."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import RunFailedError
from harness.core.tasks import Task
from harness.data.coco import read_annotations
from harness.measure import coco
from harness.measure.analysis import TaskAnalysis
from harness.measure.chunks import chunks_of, compare, joined_chunks
from harness.measure.coco import Scores
from harness.measure.columns import objects_of, results_of
from harness.measure.greedy import IOUS, kept_detections, overlapping
from harness.measure.masks import compared_mask
from harness.measure.matching import Matching, match_images
from harness.measure.parallel import Wanted, measuring, ready_children
from harness.measure.table import table_of
from tests.measure.test_coco import shaken

TASKS: tuple[Task, ...] = ("bbox", "segm")


@pytest.fixture
def crowded(small_coco: Path) -> tuple[dict[str, Any], list[dict[str, Any]], list[int]]:
    """Real annotations, a crowd on every image with objects; detections, one image without any."""
    once = read_annotations(small_coco / "annotations.json")
    images = [{**row, "id": row["id"] + 2000 * n} for n in range(4) for row in once["images"]]
    objects = [
        {**row, "id": row["id"] + 1000 * n, "image_id": row["image_id"] + 2000 * n}
        for n in range(4)
        for row in once["annotations"]
    ]
    annotations = {**once, "images": images, "annotations": objects}
    for number, row in enumerate(objects):
        row["iscrowd"] = int(number % 7 == 3)
    objects[5]["segmentation"] = [[1.0, 2.0]]  # encloses nothing
    predictions = [*shaken(annotations, 3), *shaken(annotations, 4)]
    ids = sorted(image["id"] for image in images)
    return annotations, [row for row in predictions if row["image_id"] != ids[1]], ids


def equal(first: Any, second: Any) -> bool:
    return all(
        np.array_equal(getattr(first, one.name), getattr(second, one.name))
        for one in fields(first)
        if getattr(first, one.name) is not None
    )


@pytest.mark.parametrize("count", [1, 2, 3, 50])
@pytest.mark.parametrize("times", [1, 30])
def test_chunks_find_what_one_pass_finds(crowded: Any, count: int, times: int) -> None:
    """Also with more detections on an image than count for errors."""
    annotations, predictions, ids = crowded
    predictions = [
        {**row, "score": row["score"] / (1 + n)} for n in range(times) for row in predictions
    ]
    table = table_of(annotations, predictions, ids)
    most = np.bincount(table.image).max()
    assert (most > 100) == (times > 1)
    chunks = chunks_of(annotations, ids, table, TASKS, count=count, analyzed=True)
    assert min(count, 9) <= len(chunks) <= count
    assert [one for chunk in chunks for one in chunk.image_ids] == ids
    parts = [compare(chunk) for chunk in chunks]
    for task in TASKS:
        found = joined_chunks([part[task] for part in parts], table)
        objects = objects_of(annotations, task, ids)
        results = results_of(annotations, predictions, task, ids)
        assert found.masks == objects.masks
        assert equal(found.objects, replace(objects, masks=None))
        assert np.array_equal(found.area_px, results.area_px)
        kept = kept_detections(results)
        assert equal(found.pairs, overlapping(objects, results, kept, least=float(IOUS.min())))
        assert len(found.pairs.iou) > 50
        assert isinstance(found.errors, Matching)
        assert equal(found.errors, match_images(annotations, predictions, task, ids))


def measured_both_ways(
    wanted: Wanted, monkeypatch: pytest.MonkeyPatch
) -> tuple[Scores, tuple[TaskAnalysis, ...]]:
    """What is found of predictions, the same by one process and side by side."""
    found = []
    for least in (10_000, 1):
        monkeypatch.setattr(coco, "LEAST_PREDICTIONS", least)
        with (
            ready_children(len(wanted.predictions), 2) as ready,
            measuring(wanted, processes=2, ready=ready) as measured,
        ):
            assert (ready is None) == (least > 1)
            scores = measured.with_intervals(measured.scores())
            found.append((scores, measured.analyses(scores.curves)))
    assert found[0] == found[1]
    return found[1]


@pytest.mark.parametrize("evaluator", ["fast", "both"])
def test_all_numbers_are_the_same(
    crowded: Any, monkeypatch: pytest.MonkeyPatch, evaluator: Any
) -> None:
    annotations, predictions, ids = crowded
    wanted = Wanted(
        annotations=annotations,
        predictions=predictions,
        tasks=TASKS,
        image_ids=ids[:-1],
        evaluator=evaluator,
        resamples=20,
        threshold=0.5,
    )
    scores, analyses = measured_both_ways(wanted, monkeypatch)
    assert len(scores.intervals) > 4
    assert [one.task for one in analyses] == list(TASKS)


def test_a_fault_of_the_analysis_leaves_the_numbers(
    crowded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotations, predictions, ids = crowded
    wanted = Wanted(
        annotations=annotations, predictions=predictions, tasks=TASKS, image_ids=ids, threshold=0.5
    )
    monkeypatch.setattr(coco, "LEAST_PREDICTIONS", 1)
    with measuring(replace(wanted, threshold="none"), processes=2) as measured:  # type: ignore[arg-type]
        scores = measured.scores()
        with pytest.raises(TypeError):
            measured.analyses(scores.curves)
    monkeypatch.setattr("sys.executable", "/bin/false")
    with measuring(wanted, processes=2) as measured, pytest.raises(RunFailedError, match="code 1"):
        measured.scores()


def test_keypoints_are_measured_beside_boxes(crowded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    annotations, predictions, ids = crowded
    random = np.random.default_rng(0)

    def pointed(row: dict[str, Any], third: float) -> dict[str, Any]:
        x, y, width, height = row["bbox"]
        points = [x + width / 3, y + height / 2, third, x + width / 2 + random.random(), y, third]
        return {**row, "keypoints": points}

    content = {
        **annotations,
        "categories": [{**one, "sigmas": [0.05, 0.1]} for one in annotations["categories"]],
        "annotations": [pointed(row, 2) for row in annotations["annotations"]],
    }
    wanted = Wanted(
        annotations=content,
        predictions=[pointed(row, 0.9) for row in predictions],
        tasks=("bbox", "keypoints"),
        image_ids=ids,
        resamples=20,
        threshold=0.5,
    )
    scores, analyses = measured_both_ways(wanted, monkeypatch)
    assert "keypoints/AP" in scores.intervals
    assert [one.task for one in analyses] == ["bbox"]


POINTS = st.lists(st.floats(-5, 45).map(lambda one: round(one, 2)), min_size=6, max_size=16)


@given(st.lists(POINTS.filter(lambda one: len(one) % 2 == 0), min_size=1, max_size=3))
def test_the_evaluator_makes_the_same_masks_of_outlines(outlines: list[list[float]]) -> None:
    from faster_coco_eval.core import mask

    theirs = mask.merge(mask.frPyObjects(outlines, 40, 30))["counts"]
    ours = compared_mask(outlines, 40, 30)["counts"]
    assert (theirs.decode() if isinstance(theirs, bytes) else theirs) == ours
