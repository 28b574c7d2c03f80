"""Classes of pixels and region proposals follow their image as in Detectron2."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as PillowImage

from harness.core.dataset import Dataset
from harness.core.errors import IntegrityError
from harness.core.panoptic import UNKNOWN
from harness.data.catalog import find_dataset
from harness.data.objects import AnnotatedImage, training_set
from harness.data.panoptic import png_of
from harness.data.proposals import generated_proposals, moved_proposals
from harness.data.semantic import semantic_truths
from harness.training.augmentation import Change
from harness.training.samples import make_sample
from tests.golden.cases import pictures
from tests.golden.families import narrow

SIZE, RESIZED = (31, 47), (58, 83)
SEGMENTS = [(70_000, 92), (5, 1), (3, 200), (16_777_215, 2)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two images: one with things, stuff and pixels of no segment, and one without an object."""
    folder = tmp_path_factory.mktemp("maps")
    random = np.random.Generator(np.random.PCG64(3))
    images, maps = [], []
    (folder / "panoptic").mkdir()
    for number in (1, 2):
        pixels = random.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        PillowImage.fromarray(pixels).save(folder / f"{number}.png")
        used = SEGMENTS if number == 1 else SEGMENTS[:1]
        ids = random.choice([0, *(one for one, _ in used)], SIZE).astype(np.int32)
        (folder / "panoptic" / f"{number}.png").write_bytes(png_of(ids))
        images.append(
            {"id": number, "file_name": f"{number}.png", "height": SIZE[0], "width": SIZE[1]}
        )
        segments = [{"id": one, "category_id": kind, "area": 1} for one, kind in used]
        maps.append({"image_id": number, "file_name": f"{number}.png", "segments_info": segments})
    kinds = {1: 1, 2: 1, 92: 0, 150: 0, 200: 0}
    things = [{"id": one, "name": f"kind {one}"} for one in (1, 2)]
    row = {"id": 1, "image_id": 1, "category_id": 2, "bbox": [3, 4, 20, 10], "iscrowd": 0}
    row |= {"area": 200, "segmentation": [[3, 4, 23, 4, 23, 14, 3, 14]]}
    content: dict[str, Any] = {"images": images, "annotations": [row], "categories": things}
    (folder / "instances.json").write_text(json.dumps(content), "utf-8")
    listed = [{"id": one, "name": f"kind {one}", "isthing": thing} for one, thing in kinds.items()]
    maps_file = {"annotations": maps, "categories": listed}
    (folder / "panoptic.json").write_text(json.dumps(maps_file), "utf-8")
    return find_dataset(
        dataset=None,
        annotations=folder / "instances.json",
        images=folder,
        root=folder,
        panoptic=folder / "panoptic.json",
    )


def prepared(data: Dataset, number: int) -> npt.NDArray[np.uint8]:
    """What Detectron2's ``datasets/prepare_panoptic_fpn.py`` would write for an image."""
    assert data.panoptic is not None
    with PillowImage.open(data.panoptic.folder / f"{number}.png") as picture:
        pixels = np.asarray(picture).astype(np.int64)
    ids = pixels @ np.array([1, 256, 65536])
    found = np.full(SIZE, 255, dtype=np.uint8)
    for segment, kind in SEGMENTS:
        found[ids == segment] = {1: 0, 2: 0, 92: 1, 150: 2, 200: 3}[kind]
    return found


def images_of(data: Dataset) -> tuple[AnnotatedImage, ...]:
    return training_set(data, with_masks=True, with_semantics=True).images


def test_classes_are_those_that_detectron2_prepares_files_of(data: Dataset) -> None:
    images = images_of(data)
    assert [len(one.class_index) for one in images] == [1, 0]  # both are learned
    for image in images:
        assert image.semantic is not None
        found = image.semantic.read(SIZE)
        np.testing.assert_array_equal(found, prepared(data, image.record.image_id))
    assert set(np.unique(prepared(data, 1)).tolist()) == {0, 1, 3, UNKNOWN}
    assert [one.record.image_id for one in training_set(data, with_masks=True).images] == [1]


@pytest.mark.parametrize("flip", [False, True])
def test_classes_are_resized_and_flipped_as_detectron2_does(data: Dataset, flip: bool) -> None:
    found = [
        make_sample(
            image,
            data.images_dir,
            narrow("panoptic_fpn_R_50"),
            Change(RESIZED, flip=flip),
            canvas=(0, 0),
            ordinal=0,
        )
        for image in images_of(data)
    ]
    whole = PillowImage.fromarray(prepared(data, 1)).resize(RESIZED[::-1], 0)
    expected = np.asarray(whole)[:, ::-1] if flip else np.asarray(whole)
    semantic = found[0].semantic
    assert semantic is not None
    assert semantic.flags.writeable  # torch takes it as it is
    np.testing.assert_array_equal(semantic, expected)
    assert found[1].boxes.shape == (0, 4)
    transforms = pytest.importorskip("detectron2.data.transforms", reason="no Detectron2 here")
    steps = [transforms.ResizeTransform(*SIZE, *RESIZED)]
    steps += [transforms.HFlipTransform(RESIZED[1])] if flip else []
    moved = transforms.TransformList(steps).apply_segmentation(prepared(data, 1))
    np.testing.assert_array_equal(semantic, moved)


def test_more_kinds_of_stuff_than_a_byte_can_tell_apart_are_refused(data: Dataset) -> None:
    assert data.panoptic is not None
    many = tuple(replace(data.categories[0], category_id=one) for one in range(300, 555))
    with pytest.raises(IntegrityError, match="255 kinds of stuff"):
        semantic_truths(replace(data.panoptic, stuff=many))


@pytest.mark.parametrize("flip", [False, True])
def test_proposals_are_moved_as_detectron2_does(flip: bool) -> None:
    image = pictures()[0]
    boxes = generated_proposals(image, count=200)
    size = (image.height_px, image.width_px)
    found = moved_proposals(boxes, size, RESIZED, most=150, flip=flip)
    assert found.shape == (150, 4)
    assert (found[:, 2:] > found[:, :2]).all()
    assert found.min() >= 0
    assert (found[:, 2:] <= RESIZED[::-1]).all()
    if flip:  # what was flipped twice is where it was
        back = moved_proposals(found, RESIZED, RESIZED, most=150, flip=True)
        np.testing.assert_allclose(back, moved_proposals(boxes, size, RESIZED, most=150), atol=1e-4)
    utils = pytest.importorskip("detectron2.data.detection_utils", reason="no Detectron2 here")
    from detectron2.data import transforms
    from detectron2.structures import BoxMode

    steps = [transforms.ResizeTransform(*size, *RESIZED)]
    steps += [transforms.HFlipTransform(RESIZED[1])] if flip else []
    row = {
        "proposal_boxes": boxes,
        "proposal_bbox_mode": BoxMode.XYXY_ABS,
        "proposal_objectness_logits": np.zeros(len(boxes), dtype=np.float32),
    }
    utils.transform_proposals(row, RESIZED, transforms.TransformList(steps), proposal_topk=150)
    np.testing.assert_array_equal(found, row["proposals"].proposal_boxes.tensor.numpy())
