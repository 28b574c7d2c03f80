"""The embedded scenes: the same on every machine, and hard in the ways COCO is."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from harness.core.errors import RunFailedError, UsageError
from harness.core.run_lengths import decode
from harness.data import synthetic
from harness.data.coco import read_dataset
from harness.data.images import load_image
from harness.data.synthetic import SHAPES, outlines
from harness.measure.masks import rle_of

#: Of the annotation file, and of all pixels in the order of their images. Whoever changes these
#: changes what every published number of the embedded model was measured on: raise VERSION too.
ANNOTATIONS_SHA256 = "d02d8b277f8c8542cd771710748c7d287c55a860d01a4218078db103fa3855f0"
PIXELS_SHA256 = "0ed435cc5bf446ae93b30d09ce6e8b2a5d5030d144e5f070120958dd2b852836"


@pytest.fixture(scope="module")
def scenes(embedded_root: Path) -> Path:
    """The folder of the validation split."""
    return synthetic.generate("synthetic_val", embedded_root)  # it is there: it is only found


@pytest.fixture(scope="module")
def content(scenes: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((scenes / "annotations.json").read_bytes())
    return loaded


def mask_of(annotation: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
    return decode(rle_of(annotation["segmentation"], *size))


def objects(content: dict[str, Any]) -> list[tuple[dict[str, Any], tuple[int, int]]]:
    """Each annotation with the (height, width) of its image."""
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    return [(row, sizes[row["image_id"]]) for row in content["annotations"]]


def test_every_machine_makes_the_same_scenes(scenes: Path) -> None:
    dataset = read_dataset(scenes / "annotations.json", scenes / "images")
    assert dataset.digest == ANNOTATIONS_SHA256
    pixels = hashlib.sha256()
    for record in dataset.images:
        pixels.update(load_image(record, dataset.images_dir).pixels_bgr.tobytes())
    assert pixels.hexdigest() == PIXELS_SHA256


def test_a_longer_split_begins_with_the_same_scenes(
    content: dict[str, Any], scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic, "SPLITS", {"synthetic_val": (2, 3)})
    short = synthetic.generate("synthetic_val", tmp_path)
    found = json.loads((short / "annotations.json").read_bytes())
    count = len(found["annotations"])
    assert found["annotations"] == content["annotations"][:count]
    for image in found["images"]:
        name = image["file_name"]
        first, second = (PillowImage.open(root / "images" / name) for root in (short, scenes))
        assert first.tobytes() == second.tobytes()


def test_the_splits_share_no_scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = [seed for seed, _ in synthetic.SPLITS.values()]
    assert len(set(seeds)) == len(seeds)
    few = {name: (seed, 3) for name, (seed, _) in synthetic.SPLITS.items()}
    monkeypatch.setattr(synthetic, "SPLITS", few)
    train, val = (
        (synthetic.generate(name, tmp_path) / "annotations.json").read_bytes() for name in few
    )
    assert train != val


# -- what is in the scenes -------------------------------------------------------------------------


def test_statistics_are_those_of_a_small_coco(content: dict[str, Any]) -> None:
    images, rows = content["images"], content["annotations"]
    assert 60 <= len(images) <= 70
    per_image = Counter(row["image_id"] for row in rows)
    assert 4 <= len(rows) / len(images) <= 6
    assert any(image["id"] not in per_image for image in images)
    assert sum(row["iscrowd"] for row in rows) >= 3
    sides = sorted(row["area"] ** 0.5 for row in rows)
    assert sides[0] < 10
    assert sides[-1] > 110
    for low, high in ((0, 32), (32, 96), (96, 1000)):
        assert sum(low <= side < high for side in sides) >= 10
    assert {category["id"]: category["name"] for category in content["categories"]} == SHAPES
    assert min(Counter(row["category_id"] for row in rows).values()) >= 20
    assert any(image["height"] > image["width"] for image in images)
    assert any(image["height"] < image["width"] for image in images)


def test_masks_are_what_boxes_and_areas_say(content: dict[str, Any]) -> None:
    kinds = set()
    for row, size in objects(content):
        mask = mask_of(row, size)
        assert mask.sum() == row["area"]
        y, x = np.nonzero(mask)
        left, top, width, height = row["bbox"]
        assert (left, top) == (x.min(), y.min())
        assert (left + width, top + height) == (x.max() + 1, y.max() + 1)
        kinds.add(type(row["segmentation"]))
    assert kinds == {list, dict}


def test_no_pixel_belongs_to_two_objects(content: dict[str, Any]) -> None:
    covered: dict[int, np.ndarray] = {}
    for row, size in objects(content):
        mask = mask_of(row, size)
        before = covered.setdefault(row["image_id"], np.zeros(size, dtype=bool))
        assert not (before & mask).any()
        before |= mask


def test_some_objects_are_partly_hidden(content: dict[str, Any]) -> None:
    """A convex shape that does not touch the border and has no polygon lost a part to another."""
    hidden = [
        row
        for row, (height, width) in objects(content)
        if isinstance(row["segmentation"], dict)
        and SHAPES[row["category_id"]] in ("circle", "square", "triangle", "capsule")
        and not row["iscrowd"]
        and row["bbox"][0] > 0
        and row["bbox"][1] > 0
        and row["bbox"][0] + row["bbox"][2] < width
        and row["bbox"][1] + row["bbox"][3] < height
    ]
    assert len(hidden) >= 10


def test_the_file_is_valid_and_its_images_are_as_listed(scenes: Path) -> None:
    dataset = read_dataset(scenes / "annotations.json", scenes / "images")
    assert dataset.has_masks
    assert dataset.warnings == ("4 images have no annotation",)
    for record in dataset.images:
        image = load_image(record, dataset.images_dir)
        assert image.pixels_bgr.std() > 10
    listed = {record.file_name for record in dataset.images}
    assert listed == {path.name for path in dataset.images_dir.iterdir()}


@pytest.mark.parametrize("name", SHAPES.values())
def test_outlines_fill_the_unit_square_and_no_more(name: str) -> None:
    points = np.concatenate(outlines(name))
    assert np.abs(points).max() <= 1 + 1e-9
    assert np.ptp(points, axis=0).max() > 1.4


# -- how it is made --------------------------------------------------------------------------------

GENERATING = """
import sys
from pathlib import Path
from harness.data import synthetic
synthetic.SPLITS = {"synthetic_val": (2, 8)}
print(synthetic.generate("synthetic_val", Path(sys.argv[1])))
"""


def test_several_processes_may_ask_at_once(odd_tmp_path: Path) -> None:
    command = [sys.executable, "-c", GENERATING, str(odd_tmp_path)]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    answers = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0] * 4, answers
    folder = Path(answers[0][0].strip())
    assert {out.strip() for out, _ in answers} == {str(folder)}
    assert len(read_dataset(folder / "annotations.json", folder / "images").images) == 8
    assert len(list((folder / "images").iterdir())) == 8
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_failure_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(random: Any, image_id: int) -> Any:
        if image_id == 2:
            raise KeyboardInterrupt
        return scene(random, image_id)

    scene = synthetic.scene
    monkeypatch.setattr(synthetic, "scene", interrupted)
    with pytest.raises(KeyboardInterrupt):
        synthetic.generate("synthetic_val", tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    monkeypatch.setattr(synthetic, "scene", scene)
    monkeypatch.setattr(synthetic, "SPLITS", {"synthetic_val": (2, 2)})
    assert (synthetic.generate("synthetic_val", tmp_path) / "annotations.json").is_file()


def test_a_root_that_cannot_be_written_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises((UsageError, RunFailedError), match="cannot write"):
        synthetic.generate("synthetic_val", tmp_path / "file")
