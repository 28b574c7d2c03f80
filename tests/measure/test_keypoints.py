"""Keypoints are scored as COCO scores them, and matched by the same similarity."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest

from harness.core.errors import IntegrityError
from harness.core.tasks import TASKS
from harness.measure.coco import score
from harness.measure.evaluators import ground_truth, numbering_of, result_row
from harness.measure.keypoints import COCO_SIGMAS, oks, oks_sigmas
from harness.measure.matching import judge_images
from harness.measure.resampling import average_precisions, matches_of

COUNT = len(COCO_SIGMAS)


def scenes(seed: int, images: int = 12) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Persons with some labelled points, crowds and objects without any; and shaken predictions."""
    random = np.random.Generator(np.random.PCG64(seed))
    rows: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image in range(1, images + 1):
        for number in range(int(random.integers(0, 4))):
            side = float(random.uniform(20, 200))
            x, y = random.uniform(0, 400, 2).tolist()
            points = np.stack(
                (x + side * random.random(COUNT), y + side * random.random(COUNT)), axis=1
            )
            flags = random.integers(0, 3, COUNT) * (number != 2)
            flat = np.concatenate((np.rint(points), flags[:, None]), axis=1)
            flat[flags == 0] = 0
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": image,
                    "category_id": 1,
                    "bbox": [x, y, side, side],
                    "area": side * side * 0.6,
                    "iscrowd": int(random.random() < 0.1),
                    "keypoints": flat.ravel().tolist(),
                    "num_keypoints": int((flags > 0).sum()),
                }
            )
            for _ in range(int(random.integers(0, 3))):
                moved = points + random.normal(0, side * random.uniform(0, 0.15), points.shape)
                flat = np.concatenate((moved, random.random((COUNT, 1))), axis=1)
                found.append(
                    {
                        "image_id": image,
                        "category_id": 1,
                        "bbox": [x, y, side, side],
                        "keypoints": flat.ravel().tolist(),
                        "score": float(random.random()),
                    }
                )
    content = {
        "images": [{"id": one, "height": 640, "width": 640} for one in range(1, images + 1)],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": rows,
    }
    return content, found


def official(content: dict[str, Any], found: list[dict[str, Any]]) -> Any:
    """pycocotools itself on the file as it is, as Detectron2 calls it."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = content
        truth.createIndex()
        rows = [{key: one[key] for key in one if key != "bbox"} for one in found]
        evaluation = COCOeval(truth, truth.loadRes(rows), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


@pytest.mark.parametrize("seed", range(4))
def test_both_evaluators_give_the_official_numbers(seed: int) -> None:
    content, found = scenes(seed)
    ids = [image["id"] for image in content["images"]]
    expected = official(content, found).stats
    for evaluator in ("fast", "pycocotools"):
        scores = score(content, found, tasks=["keypoints"], image_ids=ids, evaluator=evaluator)
        numbers = [scores.metrics[f"keypoints/{name}"] for name in TASKS["keypoints"].metrics]
        assert numbers == pytest.approx([100 * one for one in expected], abs=1e-7)
        assert scores.per_category[0].ap == pytest.approx(100 * expected[0], abs=1e-7)


def test_similarity_is_that_of_the_official_evaluator() -> None:
    content, found = scenes(7)
    evaluation = official(content, found)
    numbering = numbering_of(content)
    truth = ground_truth(content, "keypoints", numbering)
    for image in range(1, 13):
        rows = [one for one in found if one["image_id"] == image]
        rows = sorted(rows, key=lambda one: -one["score"])
        objects = [one for one in truth["annotations"] if one["image_id"] == image]
        expected = evaluation.ious[image, 1]
        if len(expected):
            ours = oks(
                [result_row(one, "keypoints", numbering) for one in rows], objects, COCO_SIGMAS
            )
            np.testing.assert_allclose(ours, expected, atol=1e-12)


def test_matching_and_bootstrap_follow_keypoints() -> None:
    content, found = scenes(3)
    ids = [image["id"] for image in content["images"]]
    matches = matches_of(content, found, "keypoints", ids)
    values = average_precisions(matches, np.ones((1, len(ids))))
    expected = official(content, found).stats[0]
    assert values.mean() == pytest.approx(100 * expected, abs=1e-7)
    judged = judge_images(content, found, "keypoints", ids)
    kinds = {one.kind for image in judged for one in image.detections}
    assert "true positive" in kinds
    assert kinds & {"localization", "background", "duplicate"}


def test_another_skeleton_needs_sigmas_of_its_own() -> None:
    content, found = scenes(1)
    for row in (*content["annotations"], *found):
        row["keypoints"] = row["keypoints"][:12]
    with pytest.raises(IntegrityError, match="4 keypoints, and there are 17 sigmas"):
        oks_sigmas(content)
    content["categories"][0]["sigmas"] = [0.05] * 4
    ids = [image["id"] for image in content["images"]]
    both = score(content, found, tasks=["keypoints"], image_ids=ids, evaluator="both")
    assert 0 < (both.metrics["keypoints/AP"] or 0) <= 100
    for row in content["annotations"]:
        del row["keypoints"]
    with pytest.raises(IntegrityError, match=r"person_keypoints_\*\.json"):
        oks_sigmas(content)
