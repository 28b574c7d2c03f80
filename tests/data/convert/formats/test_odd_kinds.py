"""What other programs put into these formats: read as what it is, or counted under its own name."""

from __future__ import annotations

import base64
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.core.errors import IntegrityError, UsageError
from harness.core.run_lengths import decode
from harness.data.convert.formats import coco, labelme, labelstudio, openimages, voc, yolo
from harness.data.convert.formats.yaml_text import read_yaml
from harness.data.convert.geometry import area
from harness.data.convert.image_matching import ImageFolder
from harness.data.convert.source_annotations import SourceObject, Tally
from harness.measure.masks import area_px
from tests.data.convert.formats.drawing import labelme_file, photograph, shape, written

SQUARE = [[20, 20], [30, 20], [30, 30], [20, 30]]


def png(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def full(height: int, width: int) -> str:
    return png(np.full((height, width), 255, dtype=np.uint8))


def labelme_objects(folder: Path, *shapes: Any, tally: Tally | None = None) -> Any:
    labelme_file(folder / "a.json", list(shapes))
    (found,) = labelme.read(folder, tally or Tally())
    return found.objects


def test_masks_and_outlines_of_one_group_are_one_object(tmp_path: Path) -> None:
    mask = full(5, 5)
    one = shape("cow", [[1, 1], [5, 5]], "mask", group_id=1, mask=mask)
    two = shape("cow", [[40, 40], [44, 44]], "mask", group_id=1, mask=mask)
    tally = Tally()
    (cow,) = labelme_objects(tmp_path, one, two, shape("cow", SQUARE, group_id=1), tally=tally)
    assert area_px(cow.mask) == 25 + 25 + 100
    assert [row.count for row in tally.notes.values()] == [2]


def test_rectangles_of_one_group_are_one_box(tmp_path: Path) -> None:
    corners = ([[1, 1], [5, 5]], [[40, 40], [44, 44]])
    shapes = [shape("cow", list(map(list, one)), "rectangle", group_id=2) for one in corners]
    (cow,) = labelme_objects(tmp_path, *shapes)
    assert (cow.is_box, len(cow.outlines)) == (True, 2)


@pytest.mark.parametrize(
    ("kind", "is_box"), [("rotation", True), ("oriented_rectangle", True), ("quadrilateral", False)]
)
def test_turned_shapes_are_read(kind: str, is_box: bool, tmp_path: Path) -> None:
    (one,) = labelme_objects(tmp_path, shape("ship", SQUARE, kind))
    assert (one.is_box, one.outlines) == (is_box, ([20, 20, 30, 20, 30, 30, 20, 30],))


def test_kinds_of_shape_that_are_not_read_are_counted_by_name(tmp_path: Path) -> None:
    kinds = ("cuboid", "linestrip", "circle")
    tally = Tally()
    shapes = [shape("x", [[1, 1], [2, 2], [3, 3]], kind) for kind in kinds]
    labels = [{**shape("x", SQUARE), "label": label} for label in (None, True, ["x"])]
    assert labelme_objects(tmp_path, *shapes, *labels, tally=tally) == ()
    assert {one.what: one.count for one in tally.objects.values()} == {
        "drawn as a cuboid, which is not read": 1,
        "drawn as a linestrip, which has no area": 1,
        "drawn as a circle with too few points": 1,
        "without a label and points": 3,
    }


def test_a_mask_that_is_a_bomb_is_not_decoded(tmp_path: Path) -> None:
    tally = Tally()
    bomb = shape("x", [[0, 0], [9, 9]], "mask", mask=full(500, 4000))
    far = shape("x", [[1e9, 0], [9, 9]], "mask", mask=full(5, 5))
    assert labelme_objects(tmp_path, bomb, far, tally=tally) == ()
    assert [one.count for one in tally.objects.values()] == [2]


def studio(folder: Path, kind: str, value: dict[str, Any], tally: Tally) -> Any:
    result = {"id": "r", "type": kind, "value": value, "original_width": 80, "original_height": 60}
    task = {"id": 1, "data": {"image": "a.jpg"}, "annotations": [{"id": 1, "result": [result]}]}
    (found,) = labelstudio.read(written(folder / "export.json", [task]), tally)
    return found.objects


def test_bitmasks_and_vectors_of_label_studio(tmp_path: Path) -> None:
    pixels = np.zeros((60, 80, 4), dtype=np.uint8)
    pixels[10:20, 30:50] = (255, 0, 0, 255)
    url = f"data:image/png;base64,{png(pixels)}"
    value = {"imageDataURL": url, "bitmasklabels": ["Cat"]}
    (cat,) = studio(tmp_path, "bitmasklabels", value, Tally())
    assert (decode(cat.mask) == (pixels[..., 3] > 0)).all()
    corners = [{"x": 10, "y": 10}, {"x": 50, "y": 10}, {"x": 50, "y": 50}]
    vector = {"vertices": corners, "closed": True, "vectorlabels": "Cat"}
    (cat,) = studio(tmp_path, "vectorlabels", vector, Tally())
    assert (cat.category, cat.outlines) == ("Cat", ([10, 10, 50, 10, 50, 50],))
    for bad in ({**vector, "closed": False}, {"vertices": [{**corners[0], "isBezier": True}]}):
        tally = Tally()
        assert studio(tmp_path, "vectorlabels", {**vector, **bad}, tally) == ()
        assert list(tally.objects) == ["drawn as vector, that cannot be read"]


def test_labels_that_are_no_list_are_no_letters(tmp_path: Path) -> None:
    box = {"x": 1, "y": 1, "width": 20, "height": 20, "rotation": 0}
    (cat,) = studio(tmp_path, "rectanglelabels", {**box, "rectanglelabels": "Cat"}, Tally())
    assert cat.category == "Cat"
    with pytest.raises(IntegrityError, match="task 1"):
        studio(tmp_path, "rectanglelabels", {**box, "rectanglelabels": {"Cat": 1}}, Tally())


def voc_file(folder: Path, inside: str) -> Path:
    path = folder / "Annotations" / "a.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    size = "<size><width>80</width><height>60</height></size>"
    path.write_text(
        f"<annotation><filename>a.jpg</filename>{size}<object><name>cat</name>"
        "<bndbox><xmin>11</xmin><ymin>11</ymin><xmax>20</xmax><ymax>20</ymax></bndbox>"
        f"{inside}</object></annotation>",
        encoding="utf-8",
    )
    return folder


def voc_object(folder: Path, inside: str = "", tally: Tally | None = None) -> SourceObject:
    (found,) = voc.read(voc_file(folder, inside), tally or Tally())
    (one,) = found.objects
    return one


@pytest.mark.parametrize(
    "polygon",
    [
        "<x1>1</x1><y1>2</y1><x2>30</x2><y2>2</y2><x3>30</x3><y3>40</y3>",
        "<pt><x>1</x><y>2</y></pt><pt><x>30</x><y>2</y></pt><pt><x>30</x><y>40</y></pt>",
        "<point><x>1</x><y>2</y></point><point><x>30</x><y>2</y></point>"
        "<point><x>30</x><y>40</y></point>",
    ],
)
def test_polygons_of_voc_are_masks(polygon: str, tmp_path: Path) -> None:
    one = voc_object(tmp_path, f"<polygon>{polygon}</polygon>")
    assert (one.is_box, one.outlines) == (False, ([1, 2, 30, 2, 30, 40],))


def test_a_polygon_that_cannot_be_read_leaves_the_box(tmp_path: Path) -> None:
    tally = Tally()
    assert voc_object(tmp_path, "<polygon><x1>1</x1><y1>no</y1></polygon>", tally).is_box
    assert list(tally.notes) == ["polygons that cannot be read: the box is kept"]


def test_turned_boxes_of_voc(tmp_path: Path) -> None:
    path = voc_file(tmp_path, "") / "Annotations" / "a.xml"
    turned = "<robndbox><cx>40</cx><cy>30</cy><w>20</w><h>10</h><angle>1.5708</angle></robndbox>"
    text = path.read_text(encoding="utf-8")
    start, end = text.index("<bndbox>"), text.index("</bndbox>") + len("</bndbox>")
    path.write_text(text[:start] + turned + text[end:], encoding="utf-8")
    (found,) = voc.read(tmp_path, Tally())
    (one,) = found.objects
    assert one.is_box
    assert area(one.outlines[0]) == pytest.approx(200)
    assert max(one.outlines[0][::2]) == pytest.approx(45, abs=0.01)


@pytest.mark.parametrize("mode", ["P", "L", "RGB", "I;16"])
def test_instances_are_read_in_any_depth(mode: str, tmp_path: Path) -> None:
    numbers = np.zeros((60, 80), dtype=np.uint16 if mode == "I;16" else np.uint8)
    numbers[20:40, 10:30] = 1
    numbers[0] = 65_535 if mode == "I;16" else 255
    image = Image.fromarray(numbers)
    if mode == "P":
        image.putpalette([0, 0, 0, 128, 0, 0, *[9] * 762])
    elif mode == "RGB":
        colours = np.zeros((60, 80, 3), dtype=np.uint8)
        colours[numbers == 1] = (128, 0, 0)
        colours[numbers == 255] = (224, 224, 192)
        image = Image.fromarray(colours)
    (tmp_path / "SegmentationObject").mkdir()
    image.save(tmp_path / "SegmentationObject" / "a.png")
    tally = Tally()
    mask = voc_object(tmp_path, "", tally).mask
    assert mask is not None
    assert area_px(mask) == 400
    assert not tally.notes
    assert not tally.objects


@pytest.mark.parametrize("kind", ["damaged", "other size", "other colours"])
def test_instances_that_cannot_be_read_leave_the_boxes(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "SegmentationObject" / "a.png"
    photograph(path, 40 if kind == "other size" else 80, 60)
    if kind == "damaged":
        path.write_bytes(path.read_bytes()[:60])
    tally = Tally()
    assert voc_object(tmp_path, "", tally).is_box
    assert list(tally.notes) == ["images of instances that cannot be read: boxes are kept"]


def test_instances_without_an_object_are_counted(tmp_path: Path) -> None:
    numbers = np.zeros((60, 80), dtype=np.uint8)
    numbers[5], numbers[6], numbers[7] = 1, 2, 3
    (tmp_path / "SegmentationObject").mkdir()
    Image.fromarray(numbers).save(tmp_path / "SegmentationObject" / "a.png")
    tally = Tally()
    voc_object(tmp_path, "", tally)
    assert [(one.what, one.count) for one in tally.objects.values()] == [
        ("in the image of instances, without an <object>", 2)
    ]


def yolo_objects(folder: Path, described: str, lines: str | bytes, tally: Tally) -> Any:
    photograph(folder / "images" / "a.jpg", 80, 60)
    (folder / "labels").mkdir(exist_ok=True)
    content = lines.encode() if isinstance(lines, str) else lines
    (folder / "labels" / "a.txt").write_bytes(content)
    (folder / "data.yaml").write_text(described, encoding="utf-8")
    names, found = yolo.read(folder, ImageFolder(folder), tally)
    return names, [one for each in found for one in each.objects]


BOX = (0.3, 0.3, 0.7, 0.3, 0.7, 0.7, 0.3, 0.7)


@pytest.mark.parametrize(
    ("shape_text", "points"), [("[2, 3]", "0.4 0.4 2 0 0 0"), ("[3, 2]", "0.4 0.4 0 0 0.1 0.1")]
)
def test_keypoints_follow_a_box(shape_text: str, points: str, tmp_path: Path) -> None:
    tally = Tally()
    described = f"kpt_shape: {shape_text}\nnames: [cat]\n"
    lines = f"0 0.5 0.5 0.4 0.4 {points}\n0 0.5 0.5 0.4 0.4\n0 0.5 0.5 0.4 0.4 1 1\n"
    _, objects = yolo_objects(tmp_path, described, lines, tally)
    assert [one.outlines[0] for one in objects] == [pytest.approx(BOX)] * 2
    assert all(one.is_box for one in objects)
    assert [one.count for one in tally.objects.values()] == [1]
    assert next(iter(tally.notes.values())).count == 1


def test_keypoints_that_nothing_announces_are_no_outline(tmp_path: Path) -> None:
    tally = Tally()
    pose = "0 0.5 0.5 0.4 0.4 0.35 0.35 2 0.6 0.35 1 0.6 0.6 0 0.35 0.6 2"
    assert yolo_objects(tmp_path, "names: [cat]", pose, tally)[1] == []
    assert list(tally.objects) == ["that look like keypoints: data.yaml has no kpt_shape"]
    square = "0 0 0 1 0 1 1 0 1 0 0"  # closed along the border of its image
    assert len(yolo_objects(tmp_path, "names: [cat]", square, Tally())[1]) == 1
    for bad in ("[4]", "[4, 7]", "x", "[a, b]", "[0, 2]"):
        with pytest.raises(IntegrityError, match="kpt_shape"):
            yolo_objects(tmp_path, f"kpt_shape: {bad}\nnames: [cat]", pose, Tally())


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_the_first_line_of_a_label_file_counts(encoding: str, tmp_path: Path) -> None:
    lines = "0 0.5 0.5 0.4 0.4\n0 0.5 0.5 0.2 0.2\n".encode(encoding)
    tally = Tally()
    assert len(yolo_objects(tmp_path, "names: [cat]", lines, tally)[1]) == 2
    assert not tally.objects


def test_one_label_file_is_not_that_of_two_images(tmp_path: Path) -> None:
    for day in ("day1", "day2"):
        photograph(tmp_path / "images" / day / "a.jpg", 80, 60)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.4 0.4\n", encoding="utf-8")
    (tmp_path / "classes.txt").write_text("cat\n", encoding="utf-8")
    tally = Tally()
    _, found = yolo.read(tmp_path, ImageFolder(tmp_path), tally)
    assert [one.objects for one in found] == [(), ()]
    assert [(one.what, one.count) for one in tally.objects.values()] == [
        ("of label files that belong to no image", 1)
    ]


def test_class_names_are_text_as_written(tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    path.write_text(
        "names:\n- no\n- 1:30\n- 2.10\n- null\n- 2020-01-01\n- '007'\n- yes\n", encoding="utf-8"
    )
    names, _ = yolo_objects(tmp_path, path.read_text(encoding="utf-8"), "", Tally())
    assert names == ["no", "1:30", "2.10", "null", "2020-01-01", "007", "yes"]


LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{one}: &{one} [{','.join([f'*{before}'] * 10)}]\n"
    for before, one in zip("abcdefghij", "bcdefghijk", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS + "names: *k",
        "names: &a [*a]",
        "a: &a {b: *a}\nnames: [x]",
        "[" * 5000,
        "a: " * 3,
        "names: {0: a, 0: b}",
        "names: {? [1] : a}",
        "names: {0: a, 2: b}",
        "names: {x: a}",
        "names: [[a]]",
        "x" * 3_000_000,
        "names: [a]\n---\nnames: [b]",
        "\tnames: [a]",
        "names: !!python/object/apply:os.system [ls]\nnames: [a]",
        "names: {'9'*999999: a}",
    ],
)
def test_yaml_is_bounded(text: str, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError):
        yolo_objects(tmp_path, text, "", Tally())


def test_yaml_that_is_nested_without_end_is_called_so(tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    for text in ("[" * 20_000, "{a: " * 20_000):
        path.write_text(f"names: {text}", encoding="utf-8")
        with pytest.raises(IntegrityError, match="nested too deeply"):
            read_yaml(path)


def test_yaml_of_ordinary_size_may_have_aliases(tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    path.write_text(
        "x: &x [a, b]\ntrain: ~\nval: ''\nbase: &b {k: v}\nmore: {<<: *b, n: 1}\nnames: *x"
    )
    content = read_yaml(path)
    assert (content["names"], content["train"], content["val"]) == (["a", "b"], None, "")
    assert content["more"] == {"k": "v", "n": "1"}


def test_class_lists_that_differ_are_an_error(tmp_path: Path) -> None:
    photograph(tmp_path / "images" / "a.jpg", 80, 60)
    for folder, names in (("a", "cat\n"), ("b", "dog\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "classes.txt").write_text(names, encoding="utf-8")
    with pytest.raises(UsageError, match="differ"):
        yolo.read(tmp_path, ImageFolder(tmp_path), Tally())


HEAD = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsGroupOf"


@pytest.mark.parametrize(
    ("told", "crowd"),
    [("1", True), ("1.0", True), ("True", True), ("0", False), ("", False), ("-1", False)],
)
def test_groups_however_they_are_written(told: str, crowd: bool, tmp_path: Path) -> None:
    table = tmp_path / "boxes.csv"
    table.write_text(f"{HEAD}\nab,x,/m/1,1,0,0.5,0,0.5,{told}\n", encoding="utf-8")
    ((only,),) = (one.objects for one in openimages.read(table, Tally()))
    assert only.crowd is crowd


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"{HEAD}\nab,x,/m/1,1,0,0.5,0,0.5,maybe\n", "neither yes nor no"),
        (f"{HEAD}\nab,x,/m/1,1,0,0.5,0,none,0\n", "not four numbers"),
        (f"{HEAD}\nab,x,/m/1\n", "row 2 has 3"),
        ("ImageID,Name\nab,x\n", "not a table of Open Images"),
    ],
)
def test_rows_that_are_none_are_named(text: str, why: str, tmp_path: Path) -> None:
    table = tmp_path / "boxes.csv"
    table.write_text(text, encoding="utf-8")
    with pytest.raises(IntegrityError, match=why):
        list(openimages.read(table, Tally()))


def coco_objects(folder: Path, tally: Tally, **more: Any) -> Any:
    row = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 20], **more}
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 60, "width": 80}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [row],
    }
    (found,) = coco.read(written(folder / "a.json", content), tally)[1]
    return found.objects


@pytest.mark.parametrize(
    "segmentation", [None, [], [[]], [[1, 1, 9, 9]], [[1, 1, 9, 9, 5, 5, 7]], "", [1, 1, 9, 9]]
)
def test_boxes_stay_where_no_polygon_counts(segmentation: Any, tmp_path: Path) -> None:
    (one,) = coco_objects(tmp_path, Tally(), segmentation=segmentation)
    assert (one.is_box, one.outlines[0][:2]) == (True, [1, 2])


def test_a_polygon_that_counts_stays_without_the_others(tmp_path: Path) -> None:
    tally = Tally()
    good = [1, 1, 9, 1, 9, 9]
    (one,) = coco_objects(tmp_path, tally, segmentation=[good, [], [*good, 5]])
    assert one.outlines == (good,)
    assert list(tally.notes) == ["objects that lost a polygon that does not count"]


@pytest.mark.parametrize(
    ("told", "crowd"), [("0", False), ("1", True), (1.0, True), (False, False)]
)
def test_crowds_however_they_are_written(told: Any, crowd: bool, tmp_path: Path) -> None:
    (one,) = coco_objects(tmp_path, Tally(), iscrowd=told)
    assert one.crowd is crowd


def test_values_of_coco_that_are_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="annotation 1: iscrowd 'maybe'"):
        coco_objects(tmp_path, Tally(), iscrowd="maybe")
    (one,) = coco_objects(tmp_path, Tally(), bbox=["1", "2.5", 3, 4])
    assert one.outlines[0][:2] == [1, 2.5]
    for more in ({"bbox": [math.nan, 1, 1, 1]}, {"bbox": None}, {"segmentation": [["x"] * 6]}):
        tally = Tally()
        assert coco_objects(tmp_path, tally, **more) == ()
        assert sum(row.count for row in tally.objects.values()) == 1


def test_parts_and_objects_inside_an_object_are_counted(tmp_path: Path) -> None:
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox>"
    part = f"<part><name>head</name>{box}</part>"
    inner = f"<object><name>wheel</name>{box}</object>"
    tally = Tally()
    voc_object(tmp_path, part + part + inner, tally)
    assert [(one.what, one.count) for one in tally.notes.values()] == [
        ("parts of objects, such as heads: not read", 2)
    ]
    assert [(one.what, one.count) for one in tally.objects.values()] == [
        ("inside another object", 1)
    ]


@pytest.mark.parametrize("names", ["mug\n\ndie\n", "\nmug\ndie\n", "mug\r\r\ndie\r\r\n"])
def test_an_empty_line_between_names_is_not_passed_over(names: str, tmp_path: Path) -> None:
    """Numbers behind it would be of other names, in programs that count lines."""
    photograph(tmp_path / "images" / "a.jpg", 80, 60)
    (tmp_path / "classes.txt").write_bytes(names.encode())
    with pytest.raises(IntegrityError, match=r"classes\.txt: line [12] is empty"):
        yolo.read(tmp_path, ImageFolder(tmp_path), Tally())
    (tmp_path / "classes.txt").write_bytes(b"mug\r\ndie\r\n\r\n")
    assert yolo.read(tmp_path, ImageFolder(tmp_path), Tally())[0] == ["mug", "die"]
    (tmp_path / "classes.txt").write_bytes(names.encode())
    (tmp_path / "data.yaml").write_text("names: [mug, die]\n", encoding="utf-8")
    assert yolo.read(tmp_path, ImageFolder(tmp_path), Tally())[0] == ["mug", "die"]


@pytest.mark.parametrize("count", ["3", "1", "two", "[2]"])
def test_another_number_of_names_than_the_description_has_is_refused(
    count: str, tmp_path: Path
) -> None:
    with pytest.raises(IntegrityError, match="2 classes have a name, and nc is "):
        yolo_objects(tmp_path, f"names: [mug, die]\nnc: {count}\n", "0 .5 .5 .1 .1\n", Tally())


def test_turned_boxes_and_negative_sides_of_yolo_are_noted(tmp_path: Path) -> None:
    lines = (
        "0 0.1 0.3 0.3 0.1 0.5 0.3 0.3 0.5\n"  # a turned box
        "0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5\n"  # an upright one
        "0 0.1 0.1 0.5 0.1 0.4 0.5 0.1 0.5\n"  # none
        "1 0.5 0.5 -0.2 0.2\n"
    )
    tally = Tally()
    _, objects = yolo_objects(tmp_path, "names: [mug, die]\nnc: 2\n", lines, tally)
    assert [one.is_box for one in objects] == [False, False, False, True]
    assert [(one.what[:40], one.count) for one in tally.notes.values()] == [
        ("outlines of four corners that are turned", 1),
        ("boxes with a negative side: taken withou", 1),
    ]


def test_negative_sides_of_coco_are_noted(tmp_path: Path) -> None:
    rows = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 80, "height": 60}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [25, 25, -20, -20]}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    tally = Tally()
    _, found = coco.read(written(tmp_path / "a.json", rows), tally)
    [image] = found
    assert image.objects[0].outlines == ([5, 5, 25, 5, 25, 25, 5, 25],)
    assert any("negative side" in one.what for one in tally.notes.values())


@pytest.mark.parametrize("wrapped", ["data:image/png;base64,{}", "{}\n", "lines"])
def test_images_and_masks_inside_may_be_addresses_and_have_lines(
    wrapped: str, tmp_path: Path
) -> None:
    plain = full(5, 5)
    text = "\r\n".join(plain[i : i + 20] for i in range(0, len(plain), 20))
    text = text if wrapped == "lines" else wrapped.format(plain)
    mask = shape("cow", [[1, 1], [5, 5]], "mask", mask=text)
    labelme_file(tmp_path / "a.json", [mask], imageData=text)
    (found,) = labelme.read(tmp_path, Tally())
    assert found.embedded is not None
    assert found.embedded() == base64.b64decode(plain)
    assert area_px(found.objects[0].mask) == 25
