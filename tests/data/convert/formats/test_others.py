"""Open Images, Pascal VOC, YOLO and foreign COCO files as objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.core.errors import IntegrityError, UsageError
from harness.data.convert.formats import coco, openimages, voc, yolo
from harness.data.convert.image_matching import ImageFolder
from harness.data.convert.source_annotations import SourceAnnotations, Tally
from harness.measure.masks import area_px
from tests.data.convert.formats.drawing import photograph, written

VOC = """<annotation><filename>{name}</filename>
<size><width>80</width><height>60</height><depth>3</depth></size>
<object><name>dog</name><difficult>1</difficult>
<bndbox><xmin>1</xmin><ymin>11</ymin><xmax>80</xmax><ymax>60</ymax></bndbox></object>
<object><name>cat</name>
<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>
<object><name>tail</name></object></annotation>"""


def test_real_rows_of_the_official_table_find_their_masks(
    shared_data: Path, tmp_path: Path
) -> None:
    sample = shared_data / "other/openimages/train-annotations-object-segmentation.sample.csv"
    table = tmp_path / sample.name
    table.write_bytes(sample.read_bytes())
    with pytest.raises(UsageError, match="none of the masks"):
        list(openimages.read(tmp_path, Tally()))
    rows = openimages.rows_by_image(table)
    names = [row["MaskPath"] for found in rows.values() for row in found]
    for name in names[:-1]:
        mask = np.zeros((30, 40), dtype=np.uint8)
        mask[10:20, 5:25] = 255
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).convert("1").save(tmp_path / "masks" / name)
    written_names = "/m/04yx4,Man\n/m/09j2d,Clothing\n"
    (tmp_path / "class-descriptions-boxable.csv").write_text(written_names, encoding="utf-8")
    tally = Tally()
    drawn = list(openimages.read(tmp_path, tally))
    objects = [one for each in drawn for one in each.objects]
    assert len(objects) == len(names) - 1
    assert {one.category for one in objects} <= {"Man", "Clothing"}
    assert objects[0].mask is not None
    assert area_px(objects[0].mask) == 200
    assert [(one.what, one.count) for one in tally.objects.values()] == [
        ("whose mask file is missing", 1)
    ]


def test_real_rows_of_boxes(shared_data: Path) -> None:
    table = shared_data / "other/openimages/mpeg_vcm_segmentation_validation_bbox_5k.csv"
    tally = Tally()
    drawn = {one.names[0]: one for one in openimages.read(table, tally)}
    assert len(drawn) == 5000
    lines = table.read_text(encoding="utf-8").splitlines()
    assert sum(len(each.objects) for each in drawn.values()) == len(lines) - 1 == 15365
    (sandwich,) = drawn["001464cfae2a30b8.jpg"].objects
    expected = [0.26106194, 0.24557522, 0.6814159, 0.24557522, 0.6814159, 0.57300884]
    assert sandwich.outlines[0][:6] == pytest.approx(expected)
    assert sandwich.is_box
    assert any("without class names" in one for one in tally.notes)


def test_groups_of_open_images_are_crowds(tmp_path: Path) -> None:
    table = tmp_path / "boxes.csv"
    head = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsGroupOf"
    table.write_text(f"{head}\nab,x,/m/1,1,0,0.5,0,0.5,1\n", encoding="utf-8")
    ((only,),) = (one.objects for one in openimages.read(table, Tally()))
    assert only.crowd


def test_voc_boxes_count_pixels_from_one(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(VOC.format(name="a.jpg"), encoding="utf-8")
    tally = Tally()
    (drawn,) = voc.read(tmp_path, tally)
    assert drawn.size_px == (60, 80)
    dog, cat = drawn.objects
    assert dog.outlines == ([0, 10, 80, 10, 80, 60, 0, 60],)
    assert cat.outlines == ([4, 4, 9, 4, 9, 9, 4, 9],)
    assert dog.is_box
    assert list(tally.objects) == ["without a box"]
    assert list(tally.notes) == ["objects marked difficult: kept like any other"]


def test_voc_instances_are_masks_in_the_order_of_objects(tmp_path: Path) -> None:
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "a.xml").write_text(VOC.format(name="a.jpg"), encoding="utf-8")
    numbers = np.zeros((60, 80), dtype=np.uint8)
    numbers[20:40, 10:30] = 1
    numbers[50:, :] = 255
    (tmp_path / "SegmentationObject").mkdir()
    Image.fromarray(numbers).save(tmp_path / "SegmentationObject" / "a.png")
    (drawn,) = voc.read(tmp_path, Tally())
    dog, cat = drawn.objects
    assert dog.mask is not None
    assert area_px(dog.mask) == 400
    assert cat.is_box  # the picture has no pixel of it


def test_voc_parts_are_lists_of_names(tmp_path: Path) -> None:
    for name in ("a", "b"):
        path = tmp_path / "Annotations" / f"{name}.xml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(VOC.format(name=f"{name}.jpg"), encoding="utf-8")
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("b\n", encoding="utf-8")
    assert [one.where[-5:] for one in voc.read(tmp_path, Tally(), part="val")] == ["b.xml"]
    with pytest.raises(UsageError, match="takes one of val"):
        list(voc.read(tmp_path, Tally(), part="test"))


def yolo_folder(folder: Path) -> Path:
    for part, name in (("train", "a"), ("train", "b"), ("val", "c")):
        photograph(folder / "images" / part / f"{name}.jpg", 80, 60)
    labels = folder / "labels" / "train" / "a.txt"
    labels.parent.mkdir(parents=True)
    lines = (
        "0 0.5 0.5 0.25 0.5",
        "1 0 0 0.5 0 0.5 0.5 0 0.5",
        "2 0.5 0.5 0.1 0.1",
        "0 0.5 0.5 0.1 0.1 0.9",
        "0 one two",
        "nan 0.5 0.5 0.1 0.1",
    )
    labels.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "labels" / "train" / "orphan.txt").write_text("0 0 0 1 1\n", encoding="utf-8")
    described = "path: .\ntrain: images/train\nval: images/val\nnames:\n  0: cup\n  1: dice\n"
    (folder / "data.yaml").write_text(described, encoding="utf-8")
    return folder


def test_yolo_boxes_and_outlines(tmp_path: Path) -> None:
    folder, tally = yolo_folder(tmp_path / "set"), Tally()
    order, found = yolo.read(folder, ImageFolder(folder), tally)
    drawn: dict[str, SourceAnnotations] = {one.names[0]: one for one in found}
    assert order == ["cup", "dice"]
    assert sorted(drawn) == ["images/train/a.jpg", "images/train/b.jpg", "images/val/c.jpg"]
    cup, dice = drawn["images/train/a.jpg"].objects
    assert cup.outlines == ([0.375, 0.25, 0.625, 0.25, 0.625, 0.75, 0.375, 0.75],)
    assert (cup.is_box, dice.is_box) == (True, False)
    assert set(tally.objects) == {
        "of a class number beyond the 2 names",
        "with 5 numbers: neither a box nor an outline",
        "that are not numbers",
        "of label files that belong to no image",
    }
    assert [one.count for one in tally.notes.values()] == [2, 1]
    assert "orphan.txt" in list(tally.notes.values())[1].first


def test_yolo_parts_and_names(tmp_path: Path) -> None:
    folder = yolo_folder(tmp_path / "set")
    _, found = yolo.read(folder / "data.yaml", ImageFolder(folder), Tally(), part="val")
    assert [one.names[0] for one in found] == ["images/val/c.jpg"]
    with pytest.raises(UsageError, match="takes one of train, val"):
        yolo.read(folder, ImageFolder(folder), Tally(), part="test")
    (folder / "data.yaml").unlink()
    with pytest.raises(UsageError, match="name them in the order"):
        yolo.read(folder, ImageFolder(folder), Tally())
    assert yolo.read(folder, ImageFolder(folder), Tally(), names=["x", "y"])[0] == ["x", "y"]
    (folder / "classes.txt").write_text("mug\ndie\n", encoding="utf-8")
    assert yolo.read(folder, ImageFolder(folder), Tally())[0] == ["mug", "die"]


def test_a_coco_export_of_label_studio(tmp_path: Path) -> None:
    content = {
        "images": [
            {"id": 0, "width": 80, "height": 60,
             "file_name": "..\\media\\upload\\4\\1a2b3c4d-a.jpg"}
        ],
        "categories": [{"id": 0, "name": "cup"}, {"id": 1, "name": "dice"}],
        "annotations": [
            {"id": 0, "image_id": 0, "category_id": 1, "segmentation": [[0, 0, 9, 0, 9, 9]],
             "bbox": [0, 0, 9, 9], "area": 40, "iscrowd": 0, "ignore": 0},
            {"id": 1, "image_id": 0, "category_id": 0, "segmentation": [], "bbox": [1, 2, 3, 4]},
            {"id": 2, "image_id": 0, "category_id": 5, "segmentation": [], "bbox": [1, 2, 3, 4]},
            {"id": 3, "image_id": 9, "category_id": 0, "bbox": [1, 2, 3, 4]},
            {"id": 4, "image_id": 0, "category_id": 0, "segmentation": []},
        ],
    }  # fmt: skip
    tally = Tally()
    order, found = coco.read(written(tmp_path / "result.json", content), tally)
    (drawn,) = found
    assert order == ["cup", "dice"]
    assert [(one.category, one.is_box) for one in drawn.objects] == [("dice", False), ("cup", True)]
    assert set(tally.objects) == {
        "of a category that is not listed",
        "without a segmentation and without a box",
        "of an image that is not listed",
    }


def test_a_coco_file_that_contradicts_itself_is_an_error(tmp_path: Path) -> None:
    image = {"id": 1, "file_name": "a.jpg", "width": 80, "height": 60}
    twice = {"images": [image, image], "categories": [], "annotations": []}
    with pytest.raises(IntegrityError, match="one id for several images"):
        coco.read(written(tmp_path / "a.json", twice), Tally())
    nameless = {"images": [], "categories": [{"id": 1}], "annotations": []}
    with pytest.raises(IntegrityError, match="lacks 'name'"):
        coco.read(written(tmp_path / "b.json", nameless), Tally())
