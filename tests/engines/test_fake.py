"""The fake engine: the ground truth where asked for, and each fault on demand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core.dataset import Dataset
from harness.core.detections import Detections
from harness.core.errors import RunFailedError
from harness.core.run_lengths import decode
from harness.data.coco import read_annotations, read_dataset
from harness.data.images import load_image
from harness.engines.fake import open_fake
from harness.measure.coco import score
from harness.measure.timing import NULL_STOPWATCH
from harness.zoo.architectures import faster_rcnn_r50_fpn, rpn_r50_fpn, tiny


@pytest.fixture
def dataset(small_coco: Path) -> Dataset:
    return read_dataset(small_coco / "annotations.json", small_coco / "images")


def test_proposals_have_one_class_whatever_the_objects_are(dataset: Dataset) -> None:
    found = answers(open_fake(dataset, rpn_r50_fpn()), dataset)
    assert sum(map(len, found)) > 5
    assert {one for image in found for one in image.class_index.tolist()} == {0}


def answers(engine: Any, dataset: Dataset) -> list[Detections]:
    images = [load_image(record, dataset.images_dir) for record in dataset.images]
    prepared = [engine.prepare(image, NULL_STOPWATCH) for image in images]
    found: list[Detections] = engine.infer(prepared, NULL_STOPWATCH)
    return found


def metrics(dataset: Dataset, found: list[Detections]) -> dict[str, float | None]:
    ids = [category.category_id for category in dataset.categories]
    rows = [
        {
            "image_id": one.image_id,
            "category_id": ids[one.class_index[row]],
            "bbox": [*map(float, box[:2]), *map(float, box[2:] - box[:2])],
            "score": float(one.scores[row]),
            "segmentation": {
                "size": [one.masks[row].height_px, one.masks[row].width_px],
                "counts": one.masks[row].counts,
            },
        }
        for one in found
        if one.masks is not None
        for row, box in enumerate(one.boxes_xyxy_px)
    ]
    return score(
        read_annotations(dataset.annotations_path),
        rows,
        tasks=("bbox", "segm"),
        image_ids=dataset.image_ids,
        evaluator="both",
    ).metrics


def same(first: list[Detections], second: list[Detections]) -> bool:
    return all(
        np.array_equal(one.boxes_xyxy_px, other.boxes_xyxy_px) and one.masks == other.masks
        for one, other in zip(first, second, strict=True)
    )


def test_perfect_answers_are_the_ground_truth_without_crowds(dataset: Dataset) -> None:
    found = answers(open_fake(dataset, tiny()), dataset)
    assert tuple(one.image_id for one in found) == dataset.image_ids
    (image_42,) = (one for one in found if one.image_id == 42)
    assert image_42.boxes_xyxy_px.tolist() == [[10, 10, 40, 30], [45, 30, 75, 55]]
    assert image_42.class_index.tolist() == [1, 3]
    assert image_42.scores.tolist() == [1.0, 0.5]
    assert image_42.masks is not None
    first = decode(image_42.masks[0])
    assert first.shape == (60, 80)
    assert first[10:30, 10:40].all()
    assert first.sum() == 20 * 30
    assert all((np.diff(one.scores) < 0).all() for one in found)
    assert sum(map(len, found)) == dataset.annotation_count - dataset.crowd_count


def test_perfect_answers_score_100(dataset: Dataset) -> None:
    measured = metrics(dataset, answers(open_fake(dataset, tiny()), dataset))
    assert measured["bbox/AP"] == pytest.approx(100)
    assert measured["segm/AP"] == pytest.approx(100)


def test_perfect_answers_on_the_embedded_scenes_score_100(embedded_root: Path) -> None:
    """Crowds, run lengths, hidden parts: the ground truth agrees with itself."""
    from harness.data.synthetic import generate

    folder = generate("synthetic_val", embedded_root)
    scenes = read_dataset(folder / "annotations.json", folder / "images")
    measured = metrics(scenes, answers(open_fake(scenes, tiny()), scenes))
    assert measured["bbox/AP"] == pytest.approx(100)
    assert measured["segm/AP"] == pytest.approx(100)


def test_noisy_answers_are_worse_seeded_and_not_hopeless(embedded_root: Path) -> None:
    from harness.data.synthetic import generate

    folder = generate("synthetic_val", embedded_root)
    scenes = read_dataset(folder / "annotations.json", folder / "images")
    found, again, other = (
        answers(open_fake(scenes, tiny(), behaviour="noisy", seed=seed), scenes)
        for seed in (0, 0, 1)
    )
    assert same(found, again)
    assert not same(found, other)
    measured = metrics(scenes, found)
    box_ap, box_ap50, mask_ap = (measured[key] for key in ("bbox/AP", "bbox/AP50", "segm/AP"))
    assert box_ap is not None
    assert box_ap50 is not None
    assert mask_ap is not None
    assert 50 < box_ap < box_ap50 - 5  # boxes were moved
    assert 50 < mask_ap < 95  # and objects missed or found twice


def test_an_answer_does_not_depend_on_the_batch_or_the_order(dataset: Dataset) -> None:
    engine = open_fake(dataset, tiny(), behaviour="noisy")
    together = answers(engine, dataset)
    images = [load_image(record, dataset.images_dir) for record in reversed(dataset.images)]
    apart = [engine.infer([image], NULL_STOPWATCH)[0] for image in images]
    assert same(together, apart[::-1])


def test_a_box_only_network_has_no_masks(dataset: Dataset) -> None:
    found = answers(open_fake(dataset, faster_rcnn_r50_fpn()), dataset)
    assert all(one.masks is None for one in found)


@pytest.mark.parametrize("segmentation", [None, [], [[1, 2]]])
def test_an_object_without_an_outline_gets_an_empty_mask(
    small_coco: Path, segmentation: Any
) -> None:
    path = small_coco / "annotations.json"
    content = json.loads(path.read_bytes())
    for row in content["annotations"]:
        row["segmentation"] = segmentation
    path.write_text(json.dumps(content), encoding="utf-8")
    dataset = read_dataset(path, small_coco / "images")
    for one in answers(open_fake(dataset, tiny()), dataset):
        assert one.masks is not None
        assert not any(decode(mask).any() for mask in one.masks)


def test_it_fails_where_it_was_told_to_and_only_there(dataset: Dataset) -> None:
    engine = open_fake(dataset, tiny(), behaviour="failing", fail_at_image=12)
    images = {record.image_id: load_image(record, dataset.images_dir) for record in dataset.images}
    for image_id in (7, 9, 42):
        assert len(engine.infer([images[image_id]], NULL_STOPWATCH)) == 1
    with pytest.raises(RuntimeError, match="fails here on request"):
        engine.infer([images[7], images[12]], NULL_STOPWATCH)


def test_numbers_that_are_not_finite_are_refused_at_birth(dataset: Dataset) -> None:
    engine = open_fake(dataset, tiny(), behaviour="nan")
    with pytest.raises(RunFailedError, match="image 7: the network's output is not finite"):
        answers(engine, dataset)


def test_it_says_who_answers(dataset: Dataset) -> None:
    engine = open_fake(dataset, tiny(), behaviour="noisy")
    assert (engine.info.name, engine.info.version) == ("fake", "noisy")
    assert engine.info.architecture == tiny()
    assert engine.peak_memory_bytes() is None
    engine.synchronize()
    engine.close()
