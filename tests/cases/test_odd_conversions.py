"""Whatever is in the files of a labelling program: an error that says what, or all objects counted.

Objects in = objects out + objects left out. Nothing ends in a traceback, and what comes out passes
``harness data check``, is cleaned, split, merged and cut down.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.core.errors import HarnessError
from harness.core.progress import Silent
from harness.core.requests.data import (
    CleanRequest,
    ConvertRequest,
    Format,
    MergeRequest,
    SplitRequest,
    SubsetRequest,
)
from harness.data.fields import flag_of
from harness.workflows.datasets.check import check_data
from harness.workflows.datasets.convert import ConvertReport, convert
from harness.workflows.datasets.edit import clean, merge, split_file, subset_file
from tests.cases.odd_values import ODD, damaged
from tests.data.convert.formats.drawing import photograph

T = TypeVar("T")

#: Each example writes files; the folder is emptied by hand.
QUICK = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

TRIANGLE = [[10, 10], [40, 10], [10, 40]]

LABELME = {
    "version": "5",
    "shapes": [
        {"label": "cat", "points": TRIANGLE, "group_id": None, "shape_type": "polygon"},
        {"label": "cat", "points": TRIANGLE, "group_id": 1, "shape_type": "polygon"},
        {"label": "cat", "points": [[1, 1], [9, 9]], "group_id": 1, "shape_type": "rectangle"},
        {"label": "dog", "points": [[20, 20], [30, 30]], "group_id": 2, "shape_type": "circle"},
    ],
    "imagePath": "a.jpg",
    "imageData": None,
    "imageHeight": 60,
    "imageWidth": 80,
}

COCO = {
    "images": [
        {"id": 1, "file_name": "a.jpg", "height": 60, "width": 80},
        {"id": 2, "file_name": "day1/b.jpg", "height": 60, "width": 80},
    ],
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0,
         "segmentation": [[1, 1, 10, 1, 10, 10]]},
        {"id": 2, "image_id": 1, "category_id": 2, "bbox": [5, 5, 9, 9], "area": 81, "iscrowd": 0,
         "segmentation": {"size": [60, 80], "counts": [100, 50, 4650]}},
        {"id": 3, "image_id": 2, "category_id": 2, "bbox": [5, 5, 9, 9], "score": 0.5},
    ],
}  # fmt: skip

STUDIO = [
    {
        "id": 1,
        "data": {"image": "/data/upload/1/1a2b3c4d-a.jpg"},
        "annotations": [
            {
                "id": 7,
                "completed_by": 1,
                "was_cancelled": False,
                "result": [
                    {"id": "p", "type": "polygonlabels", "original_width": 80,
                     "original_height": 60,
                     "image_rotation": 0,
                     "value": {"points": TRIANGLE, "polygonlabels": ["cat"], "closed": True}},
                    {"id": "r", "type": "rectanglelabels", "original_width": 80,
                     "original_height": 60,
                     "value": {"x": 1, "y": 1, "width": 20, "height": 20, "rotation": 10,
                               "rectanglelabels": ["dog"]}},
                    {"id": "e", "type": "ellipselabels", "original_width": 80,
                     "original_height": 60,
                     "value": {"x": 50, "y": 50, "radiusX": 10, "radiusY": 10, "rotation": 0,
                               "ellipselabels": ["dog"]}},
                ],
            }
        ],
    }
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    photograph(tmp_path / "a.jpg", 80, 60)
    photograph(tmp_path / "day1" / "b.jpg", 80, 60)
    return tmp_path


def outcome(work: Callable[[], T]) -> tuple[T | None, HarnessError | None]:
    """What came of it: an answer, or an error that the user can act on; nothing else."""
    try:
        return work(), None
    except HarnessError as error:
        return None, error


def converted(folder: Path, kind: Format) -> ConvertReport | None:
    """The report of converting the folder; None where it was refused with a reason."""
    output = folder / "out" / "out.json"
    output.unlink(missing_ok=True)
    request = ConvertRequest(source=folder, output=output, source_format=kind, images=folder)
    report, error = outcome(lambda: convert(request, Silent()))
    if report is None:
        assert error is not None
        assert error.exit_code in (2, 4)
        assert 0 < len(str(error)) < 4000
        assert not output.exists()
        return None
    assert report.object_count > 0
    passes_everything(output, folder)
    output.unlink()
    return report


def passes_everything(file: Path, images: Path) -> None:
    """What was written is valid for every other command."""
    out = file.with_name("other.json")
    check_data(file, images, with_masks=True, progress=Silent())
    clean(CleanRequest(file=file, output=out, images=images), Silent())
    merge(MergeRequest(files=(file, out), output=file.with_name("merged.json")))
    subset_file(SubsetRequest(file=file, output=out, image_count=1))
    out.unlink()


def left_out(report: ConvertReport) -> int:
    return sum(one.count for one in report.dropped_objects)


def joined(report: ConvertReport) -> int:
    return sum(one.count for one in report.notes if "joined with others" in one.what)


@QUICK
@given(content=damaged(LABELME))
def test_labelme(content: Any, folder: Path) -> None:
    (folder / "a.json").write_text(json.dumps(content), encoding="utf-8")
    report = converted(folder, "labelme")
    if report is not None:
        told = len(content["shapes"])
        assert told == report.object_count + left_out(report) + joined(report)


@QUICK
@given(content=damaged(COCO))
def test_coco(content: Any, folder: Path) -> None:
    (folder / "coco.json").write_text(json.dumps(content), encoding="utf-8")
    report = converted(folder, "coco")
    if report is not None:
        assert len(content["annotations"]) == report.object_count + left_out(report)


@QUICK
@given(content=damaged(COCO))
def test_cleaning(content: Any, folder: Path) -> None:
    file, out = folder / "coco.json", folder / "out.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    request = CleanRequest(file=file, output=out, images=folder)
    report, error = outcome(lambda: clean(request, Silent()))
    if report is None:
        assert error is not None
        assert error.exit_code == 4
        return
    dropped = sum(one.count for one in report.dropped_objects)
    assert len(content["annotations"]) == report.written[0].object_count + dropped
    check_data(out, folder, with_masks=True, progress=Silent())
    if report.written[0].image_count > 1:
        split_file(SplitRequest(file=out, fractions=(0.5, 0.5), names=("x", "y"), output=folder))
    again = clean(CleanRequest(file=out, output=folder / "again.json", images=folder), Silent())
    assert not again.dropped_objects
    assert out.read_bytes() == (folder / "again.json").read_bytes()
    out.unlink()


def cancelled(said: object) -> list[Any]:
    """The export, with that in the place of its flag."""
    task, *others = STUDIO
    return [
        {**task, "annotations": [{**one, "was_cancelled": said} for one in task["annotations"]]},
        *others,
    ]


@QUICK
@given(content=damaged(STUDIO))
@example(content=cancelled(" "))
@example(content=cancelled("false"))
@example(content=cancelled("yes"))
def test_label_studio(content: Any, folder: Path) -> None:
    (folder / "export.json").write_text(json.dumps(content), encoding="utf-8")
    report = converted(folder, "labelstudio")
    if report is not None:
        told = sum(_regions(content))
        assert told == report.object_count + left_out(report)


def _regions(content: list[Any]) -> Iterator[int]:
    """How many regions the tasks have, each id of an annotation once."""
    for task in content:
        for one in task.get("annotations") or []:
            results = one.get("result") if isinstance(one, dict) else None
            ids = [
                (r.get("id") or number)
                for number, r in enumerate(results or [])
                if isinstance(r, dict)
            ]
            if not flag_of(one.get("was_cancelled")):
                yield len({str(key) for key in ids})


WORDS = st.sampled_from(
    ("0", "1", "7", "-1", "0.5", "0.1", "1.5", "nan", "inf", "1e400", "x", "2", "1_0", "0,5", "é")
)


@QUICK
@given(lines=st.lists(st.lists(WORDS, max_size=12), min_size=1, max_size=5))
def test_yolo(lines: list[list[str]], folder: Path) -> None:
    text = "\n".join(" ".join(words) for words in lines)
    (folder / "a.txt").write_text(f"{text}\n0 0.5 0.5 0.5 0.5", encoding="utf-8")
    (folder / "data.yaml").write_text("names: [cat, dog]", encoding="utf-8")
    report = converted(folder, "yolo")
    assert report is not None
    assert sum(map(bool, lines)) + 1 == report.object_count + left_out(report)


TEXTS = st.sampled_from([str(one) for one in ODD if isinstance(one, (str, int, float))]).map(
    lambda text: "".join(one for one in text if one == "\n" or one.isprintable())
)


@QUICK
@given(texts=st.lists(TEXTS, min_size=6, max_size=6), at=st.sets(st.integers(0, 5), max_size=2))
def test_voc(texts: list[str], at: set[int], folder: Path) -> None:
    from xml.sax.saxutils import escape

    usual = ["10", "12", "30", "40", "cat", "a.jpg"]
    x1, y1, x2, y2, name, file = (
        escape(texts[number]) if number in at else one for number, one in enumerate(usual)
    )
    box = f"<bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox>"
    size = f"<size><height>{y1}0</height><width>{x1}0</width></size>" if 0 in at else ""
    (folder / "a.xml").write_text(
        f"<annotation><filename>{file}</filename>{size}<object><name>{name}</name>{box}</object>"
        "<object><name>dog</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax>"
        "</bndbox></object></annotation>",
        encoding="utf-8",
    )
    report = converted(folder, "voc")
    if report is not None:
        assert report.object_count + left_out(report) == 2


@QUICK
@given(texts=st.lists(TEXTS, min_size=6, max_size=6), at=st.sets(st.integers(0, 5), max_size=2))
def test_open_images(texts: list[str], at: set[int], folder: Path) -> None:
    usual = ["a", "/m/1", "0.1", "0.5", "0.2", "0.8"]
    row = [texts[number] if number in at else one for number, one in enumerate(usual)]
    quoted = ",".join('"' + one.replace('"', '""') + '"' for one in row)
    (folder / "boxes.csv").write_text(
        f"ImageID,LabelName,XMin,XMax,YMin,YMax\n{quoted}\na,/m/2,0,1,0,1\n", encoding="utf-8"
    )
    report = converted(folder, "openimages")
    if report is not None:
        assert report.object_count + left_out(report) == 2
