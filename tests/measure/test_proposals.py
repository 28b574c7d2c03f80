"""Recall of proposals: by hand, and as Detectron2's own matcher."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.core.tasks import PROPOSAL_METRICS
from harness.measure.proposals import score_proposals


def truth(*objects: tuple[int, list[float]], crowd: tuple[int, ...] = ()) -> dict[str, Any]:
    """Annotations of images, boxes as left, top, width, height."""
    return {
        "images": [{"id": one} for one in sorted({image for image, _ in objects})],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": 1,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": int(number in crowd),
            }
            for number, (image, box) in enumerate(objects)
        ],
    }


def found(image: int, *boxes: list[float]) -> list[dict[str, Any]]:
    """Proposals of an image, best first."""
    return [
        {"image_id": image, "category_id": 1, "bbox": box, "score": 1 - 0.001 * place}
        for place, box in enumerate(boxes)
    ]


def test_each_proposal_covers_one_object() -> None:
    content = truth((1, [0, 0, 100, 100]), (1, [0, 0, 100, 90]))
    numbers = score_proposals(content, found(1, [0, 0, 100, 100]), [1])
    # The first object wholly; nothing is left for the second, which it covers by 0.9.
    assert numbers["box_proposals/AR@1000"] == pytest.approx(50.0)
    assert numbers["box_proposals/ARm@1000"] is not None
    assert numbers["box_proposals/ARs@1000"] is None
    assert set(numbers) == {f"box_proposals/{name}" for name in PROPOSAL_METRICS}


def test_recall_is_the_mean_over_the_thresholds() -> None:
    content = truth((1, [0, 0, 100, 100]))
    # An IoU of 0.72 passes 0.50, 0.55 … 0.70: five of ten.
    numbers = score_proposals(content, found(1, [0, 0, 100, 72]), [1])
    assert numbers["box_proposals/AR@1000"] == pytest.approx(50.0)


def test_only_the_best_count() -> None:
    content = truth((1, [0, 0, 100, 100]))
    far = [[200.0 + place, 200.0, 50.0, 50.0] for place in range(100)]
    numbers = score_proposals(content, found(1, *far, [0, 0, 100, 100]), [1])
    assert numbers["box_proposals/AR@100"] == 0.0
    assert numbers["box_proposals/AR@1000"] == pytest.approx(100.0)


def test_crowds_and_images_without_proposals_do_not_count() -> None:
    content = truth((1, [0, 0, 9, 9]), (2, [0, 0, 50, 50]), (3, [0, 0, 50, 50]), crowd=(0,))
    numbers = score_proposals(
        content, found(1, [50, 50, 9, 9]) + found(2, [0, 0, 50, 50]), [1, 2, 3]
    )
    assert numbers["box_proposals/AR@1000"] == pytest.approx(100.0)
    assert score_proposals(content, [], [1, 2, 3])["box_proposals/AR@1000"] is None


@pytest.mark.filterwarnings("ignore")
def test_as_detectron2(tmp_path: Any) -> None:
    pytest.importorskip("detectron2", reason="Detectron2 is not installed")
    import json

    import torch
    from detectron2.evaluation.coco_evaluation import _evaluate_box_proposals
    from detectron2.structures import Boxes, Instances
    from pycocotools.coco import COCO

    random = np.random.Generator(np.random.PCG64(5))

    def boxes(count: int) -> list[list[float]]:
        sides = np.exp(random.uniform(1.5, 5.5, (count, 2)))
        return np.hstack((random.uniform(0, 300, (count, 2)), sides)).tolist()

    images = range(1, 9)
    content = truth(*((one, box) for one in images for box in boxes(7)), crowd=(3, 20))
    predictions, theirs = [], []
    for one in images:
        objects = [row["bbox"] for row in content["annotations"] if row["image_id"] == one]
        near = [(np.array(box) + random.normal(0, 6, 4)).clip(1).tolist() for box in objects]
        mine = near[:5] + boxes(150)
        random.shuffle(mine)
        rows = found(one, *mine)
        predictions += rows
        instances = Instances((600, 600))
        corners = np.array(mine, dtype=np.float32)
        corners[:, 2:] += corners[:, :2]
        instances.proposal_boxes = Boxes(torch.from_numpy(corners))
        instances.objectness_logits = torch.tensor([row["score"] for row in rows])
        theirs.append({"image_id": one, "proposals": instances})
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(content))
    coco = COCO(str(path))
    numbers = score_proposals(content, predictions, list(images))
    for limit in (100, 1000):
        for suffix, area in (("", "all"), ("s", "small"), ("m", "medium"), ("l", "large")):
            expected = _evaluate_box_proposals(theirs, coco, area=area, limit=limit)["ar"].item()
            measured = numbers[f"box_proposals/AR{suffix}@{limit}"]
            assert measured == pytest.approx(100 * expected, abs=1e-4), (limit, area)
