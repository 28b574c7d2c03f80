"""Whatever a file holds, reading it ends in drawings, in counts or in an error for the user."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import HarnessError
from harness.core.progress import Silent
from harness.core.requests.data import CleanRequest, ConvertRequest, Format
from harness.workflows.datasets.convert import convert
from harness.workflows.datasets.edit import clean
from tests.data.convert.formats.drawing import shape, written
from tests.data.convert.formats.test_labelstudio import annotation, polygon, task

JUNK = (None, 0, -1, 1e9, float("nan"), "x", "", [], {}, [1], {"a": 1}, True, [[1, 2], [3]], 2.5)
SQUARE = [[10, 10], [50, 10], [50, 50]]
WHOLE: dict[Format, Any] = {
    "labelme": {
        "shapes": [
            shape("cup", SQUARE),
            shape("cup", SQUARE[:2], "rectangle"),
            shape("cup", SQUARE[:2], "circle", group_id=1),
            shape("cup", SQUARE[:2], "mask", mask="iVBORw0KGgo="),
        ],
        "imagePath": "a.jpg",
        "imageHeight": 60,
        "imageWidth": 80,
    },
    "labelstudio": [task(annotation(1, polygon("cup")), annotation(2, polygon("cup")))],
    "coco": {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 60, "width": 80}],
        "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "dice"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 81,
             "iscrowd": 0, "segmentation": [[1, 1, 10, 1, 10, 10, 1, 10]]},
            {"id": 2, "image_id": 1, "category_id": 2, "bbox": [0, 0, 80, 60], "area": 10,
             "iscrowd": 1, "segmentation": {"size": [60, 80], "counts": [10, 10, 4780]}},
        ],
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", list(WHOLE))
@pytest.mark.parametrize("start", range(0, 120, 30))
def test_damaged_files_never_end_in_a_traceback(kind: Format, start: int, tmp_path: Path) -> None:
    source, output = tmp_path / "odd.json", tmp_path / "out.json"
    (tmp_path / "images").mkdir()
    for seed in range(start, start + 30):
        written(source, damaged(WHOLE[kind], random.Random(seed)))
        request = ConvertRequest(source=source, output=output, source_format=kind)
        with suppress(HarnessError):
            convert(request, Silent())
            json.loads(output.read_text(encoding="utf-8"))
        if kind == "coco":
            with suppress(HarnessError):
                asked = CleanRequest(file=source, output=output, same_names="apart", renumber=True)
                clean(asked, Silent())


def damaged(content: Any, draw: random.Random) -> Any:
    """A copy with one to three values gone or replaced by what does not belong there."""
    content = copy.deepcopy(content)
    for _ in range(draw.randint(1, 3)):
        places = [place for place in places_in(content) if place]
        if not places:
            break
        *way, last = draw.choice(places)
        inner = content
        for key in way:
            inner = inner[key]
        if isinstance(inner, dict) and draw.random() < 0.25:
            del inner[last]
        else:
            inner[last] = copy.deepcopy(draw.choice(JUNK))
    return content


def places_in(content: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield way
    if isinstance(content, dict):
        items: Any = content.items()
    else:
        items = enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield from places_in(value, (*way, key))
