"""Data sets by name or by place, and what is said when they are not there."""

from __future__ import annotations

import json
import shlex
import shutil
import warnings
from pathlib import Path

import pytest

from harness.core.dataset import Dataset
from harness.core.errors import PrerequisiteError, UsageError
from harness.data.catalog import (
    COCO_LAYOUT,
    DATASET_NAMES,
    DOWNLOAD_GROUPS,
    PANOPTIC_LAYOUT,
    SECOND_OPINIONS,
    find_dataset,
    limited,
)
from harness.zoo.lock import read_lock


def named(name: str | None, root: Path) -> Dataset:
    return find_dataset(dataset=name, annotations=None, images=None, root=root)


def laid_out(name: str, small_coco: Path, root: Path) -> Path:
    """The root, with the small data set in the place of the one called ``name``."""
    annotations, images = COCO_LAYOUT[name]
    (root / annotations).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(small_coco / "annotations.json", root / annotations)
    shutil.copytree(small_coco / "images", root / images, dirs_exist_ok=True)
    if name in PANOPTIC_LAYOUT:
        file, (folder, _) = PANOPTIC_LAYOUT[name]
        (root / folder).mkdir(parents=True, exist_ok=True)
        content = json.loads((small_coco / "annotations.json").read_text("utf-8"))
        rows = [
            {"image_id": one["id"], "file_name": f"{one['id']}.png", "segments_info": []}
            for one in content["images"]
        ]
        things = [{**one, "isthing": 1} for one in content["categories"]]
        (root / file).write_text(json.dumps({"annotations": rows, "categories": things}), "utf-8")
    return root


@pytest.mark.parametrize("name", COCO_LAYOUT)
def test_a_known_data_set_is_found_below_the_root(
    small_coco: Path, odd_tmp_path: Path, name: str
) -> None:
    dataset = named(name, laid_out(name, small_coco, odd_tmp_path))
    assert dataset.name == name
    assert dataset.image_ids == (7, 9, 12, 42, 300, 1001)
    assert (dataset.images_dir / dataset.images[0].file_name).is_file()
    assert (dataset.panoptic is not None) == (name in PANOPTIC_LAYOUT)


def test_the_layout_is_that_of_the_reference() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import uses what torch deprecates
        builtin = pytest.importorskip("detectron2.data.datasets.builtin")
    splits = builtin._PREDEFINED_SPLITS_COCO
    theirs = splits["coco"] | splits["coco_person"]
    for name, (annotation_file, images) in COCO_LAYOUT.items():
        if name in SECOND_OPINIONS:  # the reference does not have them
            continue
        assert theirs[name.removesuffix("_panoptic_separated")] == (images, annotation_file)
    maps = builtin._PREDEFINED_SPLITS_COCO_PANOPTIC["coco_2017_val_panoptic"]
    file, (folder, _) = PANOPTIC_LAYOUT["coco_2017_val_panoptic_separated"]
    assert maps[:2] == (folder, file)


@pytest.mark.parametrize("name", COCO_LAYOUT)
@pytest.mark.parametrize("lacking", ["everything", "annotations", "images"])
def test_what_is_not_there_is_missing_with_the_command_that_fetches_it(
    small_coco: Path, odd_tmp_path: Path, name: str, lacking: str
) -> None:
    if lacking != "everything":
        laid_out(name, small_coco, odd_tmp_path)
        annotations, images = COCO_LAYOUT[name]
        if lacking == "annotations":
            (odd_tmp_path / annotations).unlink()
        else:
            shutil.rmtree(odd_tmp_path / images)
    with pytest.raises(PrerequisiteError, match=f"{name} is not there: no ") as caught:
        named(name, odd_tmp_path)
    assert caught.value.exit_code == 3
    words = shlex.split(str(caught.value.hint).removeprefix("run: "))
    assert words[-4:] == ["--only", DOWNLOAD_GROUPS[name], "--root", str(odd_tmp_path)]


def test_the_commands_name_groups_of_the_lock() -> None:
    groups = {artefact.group for artefact in read_lock().artefacts}
    assert DOWNLOAD_GROUPS.keys() == COCO_LAYOUT.keys()
    for asked in DOWNLOAD_GROUPS.values():
        assert set(asked.split(",")) <= groups


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("coco_2017_vall", "did you mean coco_2017_val?"),
        ("coco_2017_val100", "did you mean coco_2017_val_100?"),
        ("sythetic_val", "did you mean synthetic_val?"),
        ("imagenet", "unknown data set 'imagenet'"),
    ],
)
def test_an_unknown_name_is_a_usage_error(tmp_path: Path, name: str, meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        named(name, tmp_path)
    assert meant in caught.value.message
    assert all(known in str(caught.value.hint) for known in DATASET_NAMES)
    assert not list(tmp_path.iterdir())


def test_a_data_set_of_ones_own_is_found_by_its_two_places(
    small_coco: Path, tmp_path: Path
) -> None:
    annotations, images = small_coco / "annotations.json", small_coco / "images"
    found = find_dataset(dataset=None, annotations=annotations, images=images, root=tmp_path)
    assert (found.name, found.annotations_path, found.images_dir) == (
        "annotations",
        annotations,
        images,
    )


def test_questions_without_one_answer_are_refused(small_coco: Path, tmp_path: Path) -> None:
    annotations, images = small_coco / "annotations.json", small_coco / "images"
    with pytest.raises(UsageError, match="go together"):
        find_dataset(dataset=None, annotations=annotations, images=None, root=tmp_path)
    with pytest.raises(UsageError, match="go together"):
        find_dataset(dataset="coco_2017_val", annotations=None, images=images, root=tmp_path)
    with pytest.raises(UsageError, match="not both"):
        find_dataset(dataset="coco_2017_val", annotations=annotations, images=images, root=tmp_path)
    with pytest.raises(UsageError, match="no data set given"):
        named(None, tmp_path)


def test_a_limit_keeps_the_first_images_by_id(small_coco: Path) -> None:
    whole = find_dataset(
        dataset=None,
        annotations=small_coco / "annotations.json",
        images=small_coco / "images",
        root=small_coco,
    )
    few = limited(whole, 3)
    assert few.image_ids == (7, 9, 12)
    assert (few.digest, few.categories) == (whole.digest, whole.categories)
    assert limited(whole, 100) == whole


def test_the_embedded_data_set_is_made_on_first_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.data.synthetic.SPLITS", {"synthetic_val": (2, 3)})
    first = named("synthetic_val", tmp_path)
    assert first.name == "synthetic_val"
    assert len(first.images) == 3
    made = first.annotations_path.stat().st_mtime_ns
    again = named("synthetic_val", tmp_path)
    assert again == first
    assert again.annotations_path.stat().st_mtime_ns == made
    content = json.loads(first.annotations_path.read_text(encoding="utf-8"))
    assert len(content["annotations"]) == first.annotation_count
