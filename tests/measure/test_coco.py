"""The 24 numbers: equal to pycocotools, and to answers that others computed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core.errors import IntegrityError, RunFailedError
from harness.core.tasks import TASKS, Task
from harness.data.coco import read_annotations
from harness.measure import evaluators
from harness.measure.coco import check_coverage, score
from harness.measure.masks import rle_of

EXACT = 1e-9

#: Printed by the official evaluator, in the order of TASKS (shared/data/README.md).
FAKE100_SEGM = "0.319545 0.562288 0.298927 0.387374 0.310183 0.326934 0.268230 0.415449 0.416839 0.469450 0.376759 0.381472"  # noqa: E501
FAKE100_BBOX = "0.504581 0.696973 0.572982 0.585626 0.519400 0.501398 0.386813 0.593680 0.595353 0.639811 0.566421 0.564291"  # noqa: E501
D2GO_BBOX = "0.199844 0.341996 0.200899 0.045213 0.211594 0.407563 0.210888 0.285236 0.286233 0.063292 0.282101 0.541022"  # noqa: E501


def require_equal(
    annotations: dict[str, Any], predictions: Sequence[dict[str, Any]], tasks: Sequence[Task]
) -> dict[str, float | None]:
    """Both evaluators on the same predictions; the numbers when they agree exactly."""
    image_ids = sorted(image["id"] for image in annotations["images"])
    fast, official = (
        score(annotations, predictions, tasks=tasks, image_ids=image_ids, evaluator=evaluator)
        for evaluator in ("fast", "pycocotools")
    )
    assert fast.metrics.keys() == {
        f"{task}/{name}" for task in tasks for name in TASKS[task].metrics
    }
    for name, value in official.metrics.items():
        assert fast.metrics[name] == pytest.approx(value, abs=EXACT * 100), name
    assert [row.category_id for row in fast.per_category] == [
        row.category_id for row in official.per_category
    ]
    for ours, theirs in zip(fast.per_category, official.per_category, strict=True):
        assert ours.ap == pytest.approx(theirs.ap, abs=EXACT * 100)
    return fast.metrics


def require_known(metrics: dict[str, float | None], task: Task, printed: str) -> None:
    for name, value in zip(TASKS[task].metrics, printed.split(), strict=True):
        assert metrics[f"{task}/{name}"] == pytest.approx(100 * float(value), abs=1e-4), name


def test_the_official_fixture_gives_its_printed_answers(shared_data: Path) -> None:
    folder = shared_data / "evaluators" / "cocoapi_fake100"
    annotations = read_annotations(folder / "instances_val2014_100.json")
    for task, printed in (("bbox", FAKE100_BBOX), ("segm", FAKE100_SEGM)):
        path = folder / f"instances_val2014_fake{task}100_results.json"
        predictions = json.loads(path.read_text("utf-8"))
        metrics = require_equal(annotations, predictions, [task])  # type: ignore[list-item]
        require_known(metrics, task, printed)


def test_a_real_detector_on_real_images_gives_the_known_answer(shared_data: Path) -> None:
    annotations = read_annotations(shared_data / "coco/annotations/instances_val2017.json")
    (path,) = (shared_data / "evaluators" / "d2go").glob("*.json")
    metrics = require_equal(annotations, json.loads(path.read_text("utf-8")), ["bbox"])
    require_known(metrics, "bbox", D2GO_BBOX)


def shaken(annotations: dict[str, Any], seed: int) -> list[dict[str, Any]]:
    """Predictions like a detector's: some objects missed, some found twice, boxes off by a bit."""
    random = np.random.Generator(np.random.PCG64(seed))
    sizes = {image["id"]: (image["height"], image["width"]) for image in annotations["images"]}
    categories = [category["id"] for category in annotations["categories"]]
    rows = []
    for row in annotations["annotations"]:
        for _ in range(random.integers(0, 3)):
            x, y, width, height = row["bbox"]
            moved = [
                x + random.normal(0, width / 12),
                y + random.normal(0, height / 12),
                width * random.uniform(0.8, 1.2),
                height * random.uniform(0.8, 1.2),
            ]
            left, top, w, h = moved
            corners = [left, top, left + w, top, left + w, top + h, left, top + h]
            mask = rle_of([corners], *sizes[row["image_id"]])
            wrong = random.random() < 0.1
            rows.append(
                {
                    "image_id": row["image_id"],
                    "category_id": int(random.choice(categories)) if wrong else row["category_id"],
                    "bbox": moved,
                    "score": round(float(random.random()), 2),  # ties on purpose
                    "segmentation": {
                        "size": [mask.height_px, mask.width_px],
                        "counts": mask.counts,
                    },
                }
            )
    return rows


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_generated_scenes_with_crowds_and_empty_images(embedded_folder: Path, seed: int) -> None:
    annotations = read_annotations(embedded_folder / "annotations.json")
    assert any(row["iscrowd"] for row in annotations["annotations"])
    metrics = require_equal(annotations, shaken(annotations, seed), ["bbox", "segm"])
    assert 5 < (metrics["bbox/AP"] or 0) < 90


@pytest.mark.slow
def test_real_annotations_with_shaken_predictions(shared_data: Path) -> None:
    annotations = read_annotations(shared_data / "coco/annotations/instances_val2017.json")
    metrics = require_equal(annotations, shaken(annotations, 7), ["bbox", "segm"])
    assert 5 < (metrics["segm/AP"] or 0) < 90


def test_odd_annotations_score_alike(small_coco: Path) -> None:
    annotations = read_annotations(small_coco / "annotations.json")
    predictions = shaken(annotations, 4)
    rows = annotations["annotations"]
    rows[0]["bbox"] = [10, 10, 0, 0]
    rows[1].pop("area")
    rows[2]["segmentation"] = []
    rows[3]["id"] = 0
    require_equal(annotations, predictions, ["bbox", "segm"])


def test_perfect_predictions_score_a_hundred(small_coco: Path) -> None:
    annotations = read_annotations(small_coco / "annotations.json")
    predictions = [
        {**{key: row[key] for key in ("image_id", "category_id", "bbox")}, "score": 0.9}
        for row in annotations["annotations"]
        if not row["iscrowd"]
    ]
    metrics = require_equal(annotations, predictions, ["bbox"])
    assert metrics["bbox/AP"] == pytest.approx(100)


def test_no_predictions_are_zero_and_no_truth_is_undefined(small_coco: Path) -> None:
    annotations = read_annotations(small_coco / "annotations.json")
    metrics = require_equal(annotations, [], ["bbox", "segm"])
    assert metrics["bbox/AP"] == 0.0
    only = score(annotations, [], tasks=["bbox"], image_ids=[300])  # has no object
    assert only.metrics["bbox/AP"] is None
    assert {row.reason for row in only.per_category} == {"no ground truth in the evaluated images"}


def test_only_the_evaluated_images_count(small_coco: Path) -> None:
    annotations = read_annotations(small_coco / "annotations.json")
    perfect = [
        {**{key: row[key] for key in ("image_id", "category_id", "bbox")}, "score": 0.9}
        for row in annotations["annotations"]
        if row["image_id"] == 12
    ]
    assert score(annotations, perfect, tasks=["bbox"], image_ids=[12]).metrics[
        "bbox/AP"
    ] == pytest.approx(100)
    all_ids = [image["id"] for image in annotations["images"]]
    assert (score(annotations, perfect, tasks=["bbox"], image_ids=all_ids).metrics["bbox/AP"]) < 100


def test_categories_with_one_name_keep_their_own_ap(small_coco: Path) -> None:
    annotations = read_annotations(small_coco / "annotations.json")
    for category in annotations["categories"]:
        category["name"] = "thing"
    found = score(annotations, [], tasks=["bbox"], image_ids=[42, 7])
    assert [row.category_id for row in found.per_category] == [2, 3, 5, 7, 11, 13, 17, 19]


@pytest.mark.parametrize(
    ("change", "told"),
    [({"image_id": 999}, "names image 999"), ({"category_id": 999}, "names category 999")],
)
def test_predictions_of_another_data_set_are_refused(
    small_coco: Path, change: dict[str, int], told: str
) -> None:
    annotations = read_annotations(small_coco / "annotations.json")
    row = {"image_id": 42, "category_id": 3, "bbox": [1, 1, 5, 5], "score": 0.5, **change}
    with pytest.raises(IntegrityError, match=told):
        score(annotations, [row], tasks=["bbox"], image_ids=[42])


def test_evaluators_that_disagree_are_an_error(
    small_coco: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotations = read_annotations(small_coco / "annotations.json")
    image_ids = [image["id"] for image in annotations["images"]]
    official, other = map(evaluators.evaluator_classes, ("pycocotools", "fast"))

    class Shifted(official[1]):  # type: ignore[misc,valid-type]
        def summarize(self) -> None:
            super().summarize()
            self.stats[0] += 2e-9

    answers = {"fast": other, "pycocotools": (official[0], Shifted)}
    monkeypatch.setattr(evaluators, "evaluator_classes", answers.__getitem__)
    with pytest.raises(RunFailedError, match="disagree on bbox/AP:"):
        score(annotations, [], tasks=["bbox"], image_ids=image_ids, evaluator="both")


def test_every_image_must_be_finished_once() -> None:
    check_coverage([1, 2, 3], [3, 1, 2])
    for finished, told in (
        ([1, 2], r"1 missing \(first: \[3\]\)"),
        ([1, 2, 3, 3], "1 more than once"),
        ([1, 2, 3, 4], r"1 unexpected \(first: \[4\]\)"),
    ):
        with pytest.raises(RunFailedError, match=told):
            check_coverage([1, 2, 3], finished)
