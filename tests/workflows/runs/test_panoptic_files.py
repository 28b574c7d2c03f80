"""Maps of segments in a run folder: their names, and the counts of a semantic head."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.core.dataset import Category, ImageRecord
from harness.core.errors import IntegrityError
from harness.workflows.runs.panoptic_files import (
    COUNTS_KEY,
    SEMANTIC_FILE,
    map_names,
    read_semantic,
    write_semantic,
)

STUFF = (Category(92, "banner"), Category(93, "blanket"))
SIZES = {7: (2, 3), 8: (4, 4)}
COUNTS = {7: [0, 1, 6], 8: [1, 1, 9, 2, 0, 1]}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("a.jpg", "d/b c.jpg"), ("a.png", "b c.png")),
        (("名.jpg", "b.x.jpg"), ("名.png", "b.x.png")),
        (("d/a.jpg", "e/a.jpg"), ("7.png", "8.png")),
        (("a.jpg", "a\nb.jpg"), ("7.png", "8.png")),
        (("a.jpg", "a\rb.jpg"), ("7.png", "8.png")),
        (("a.jpg", "a\u2028b.jpg"), ("7.png", "8.png")),
        (("a.jpg", "\x1b[31mb.jpg"), ("7.png", "8.png")),
        (("a.jpg", f"{'b' * 251}.jpg"), ("7.png", "8.png")),
        (("a.jpg", f"{'名' * 70}.jpg"), ("7.png", "8.png")),
        (("a.jpg", f"{'b' * 150}.jpg"), ("a.png", f"{'b' * 150}.png")),
    ],
)
def test_a_map_has_the_name_of_its_image_where_it_can(
    names: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    images = [ImageRecord(number, name, 2, 2) for number, name in enumerate(names, start=7)]
    assert tuple(map_names(images).values()) == expected


def test_counts_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_semantic(tmp_path, [{"image_id": one, COUNTS_KEY: COUNTS[one]} for one in (8, 7)], STUFF)
    assert read_semantic(tmp_path, SIZES, STUFF, "") == [[[0, 1, 6]], [[1, 1, 9], [2, 0, 1]]]
    assert read_semantic(tmp_path, {8: (4, 4)}, STUFF, "") == [[[1, 1, 9], [2, 0, 1]]]
    with pytest.raises(IntegrityError, match="lacks 1 of 1 images, the first is image 9"):
        read_semantic(tmp_path, {9: (4, 4)}, STUFF, "")
    with pytest.raises(IntegrityError, match="its classes are not those of"):
        read_semantic(tmp_path, SIZES, STUFF[::-1], "")


def content(**rows: Any) -> dict[str, Any]:
    """The counts of image 7, with other values."""
    row = {"image_id": 7, "truth_found_pixels": COUNTS[7]}
    return {"classes": ["things", "banner", "blanket"], "images": [row | rows]}


@pytest.mark.parametrize(
    "odd",
    [
        *([], {}, None, 7, {"classes": 3, "images": []}),
        *(content() | {"classes": one} for one in ("xxx", ["x"] * 3, [], 10**9)),
        *(content() | {"images": one} for one in (None, 7, {"image_id": 7}, [[]], ["x"])),
        content() | {"images": content()["images"] * 2},
        *(content(image_id=one) for one in (True, 7.0, "7", None, [7], {})),
        *(content(truth_found_pixels=one) for one in (None, {}, "", [[0, 1, 6]], [0, 1])),
        *(content(truth_found_pixels=[0, 1, one]) for one in (7, 10**400, -1, True, 1.0, "6")),
        *(content(truth_found_pixels=[one, 1, 6]) for one in (3, 255, -1, 10**400)),
    ],
)
def test_counts_that_cannot_be_those_of_the_images_are_no_numbers(tmp_path: Path, odd: Any) -> None:
    (tmp_path / SEMANTIC_FILE).write_text(json.dumps(odd), "utf-8")  # of a run without checksums
    with pytest.raises(IntegrityError, match="does not have the counts") as caught:
        read_semantic(tmp_path, {7: (2, 3)}, STUFF, "make it again")
    assert caught.value.hint == "make it again"
