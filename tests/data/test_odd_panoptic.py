"""Files of COCO's panoptic format: what is read, and what is refused with its place and reason."""

from __future__ import annotations

import copy
import os
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.core.errors import IntegrityError
from harness.data.panoptic import panoptic_truth, png_of, read_ids, require_pngs

IDS = np.array([[1, 70_000, 0], [1, 16_777_215, 0]], dtype=np.int32)

SEGMENT = {"id": 1, "category_id": 1, "iscrowd": 0, "area": 2}
ROW = {"image_id": 1, "file_name": "1.png", "segments_info": [SEGMENT]}
CATEGORY = {"id": 1, "name": "cat", "isthing": 1}


@pytest.mark.parametrize(
    ("part", "key", "value", "says"),
    [
        ("segment", "area", 0, None),
        ("segment", "area", 2.5, None),
        ("segment", "id", 1.0, None),
        ("segment", "area", 10**400, "has the area an integer of 1329 bits"),
        ("segment", "area", float("inf"), "has the area inf"),
        ("segment", "area", "2", "has the area '2'"),
        ("segment", "area", -1, "has the area -1"),
        ("segment", "area", None, "has the area None"),
        ("segment", "id", 2**53 + 1, "expected an id of its own from 1 to 16777215"),
        ("segment", "id", True, "expected an id of its own"),
        ("segment", "category_id", [1], "which is not listed"),
        ("segment", "category_id", 2**70, "which is not listed"),
        ("segment", "iscrowd", "0", "has iscrowd '0'"),
        ("row", "file_name", "x" * 5000, r"names no PNG: 'xxx"),
        ("row", "file_name", f"d/{'名' * 90}.png", "names no PNG"),
        ("row", "file_name", "/1.png", "names no PNG"),
        ("row", "file_name", "a\0b", "names no PNG"),
        ("row", "file_name", 1, "names no PNG: 1"),
        ("row", "image_id", 1e30, "expected an integer that no other row has"),
        ("row", "image_id", -(2**60), None),
        ("row", "segments_info", {}, "has no list segments_info"),
        ("category", "isthing", "1", "expected 1 for single objects or 0 for stuff"),
        ("category", "isthing", None, "expected 1 for single objects or 0 for stuff"),
        ("category", "id", [], "needs an id of its own and a name"),
        ("category", "name", None, "needs an id of its own and a name"),
    ],
    ids=lambda one: str(one)[:20],
)
def test_odd_values_of_a_file(part: str, key: str, value: Any, says: str | None) -> None:
    parts = {
        "segment": dict(SEGMENT),
        "row": copy.deepcopy(ROW),
        "category": dict(CATEGORY),
    }
    if part != "row":
        parts[part][key] = value
    parts["row"]["segments_info"] = [parts["segment"]]
    if part == "row":
        parts[part][key] = value
    content = {"categories": [parts["category"]], "annotations": [parts["row"]]}
    path = Path("panoptic.json")
    if says is None:
        assert len(panoptic_truth(content, path, Path(), "").rows) == 1
        return
    with pytest.raises(IntegrityError, match=f"panoptic.json.*{says}") as caught:
        panoptic_truth(content, path, Path(), "")
    assert len(caught.value.message) < 300


def of_mode(mode: str, kind: str = "PNG") -> bytes:
    content = BytesIO()
    Image.open(BytesIO(png_of(IDS))).convert(mode).save(content, format=kind)
    return content.getvalue()


def header(width: int, height: int) -> bytes:
    """A PNG of these sides, with nothing in it."""
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(one)) + name + one + struct.pack(">I", zlib.crc32(name + one))
        for name, one in parts
    )


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_numbers_are_read_with_and_without_transparency(tmp_path: Path, mode: str) -> None:
    (tmp_path / "1.png").write_bytes(of_mode(mode))
    np.testing.assert_array_equal(read_ids(tmp_path / "1.png", (2, 3)), IDS)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "it is missing"),
        (b"", "cannot be read"),
        (b"<!doctype html>", "cannot be read"),
        (png_of(IDS)[:20], "cannot be read"),
        (png_of(IDS)[:50], "cannot be read"),
        (png_of(IDS.T.copy()), "is 2 × 3 px, its image is 3 × 2 px"),
        (header(100_000, 100_000), "cannot be read"),
        (header(12_000, 10_000), "120000000 pixels|is 12000 × 10000 px"),
        (of_mode("L"), "of mode L"),
        (of_mode("P"), "of mode P"),
        (of_mode("I;16"), "of mode I;16"),
        (of_mode("RGB", "JPEG"), "is a JPEG"),
    ],
)
def test_what_is_no_map_is_refused(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "1.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(IntegrityError, match=f"1.png.*({says})") as caught:
        read_ids(path, (2, 3), repair="make it again")
    assert caught.value.hint == "make it again"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_no_map(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "1.png")
    with pytest.raises(IntegrityError, match=r"1\.png .*is missing"):
        read_ids(tmp_path / "1.png", (2, 3))


def test_paths_that_the_system_refuses_are_missing(tmp_path: Path) -> None:
    row = {**copy.deepcopy(ROW), "file_name": "/".join(["d" * 200] * 40)}
    content = {"categories": [dict(CATEGORY)], "annotations": [row]}
    truth = panoptic_truth(content, tmp_path / "panoptic.json", tmp_path, "")
    with pytest.raises(IntegrityError, match="1 of 1 panoptic PNGs are missing"):
        require_pngs(truth, [1])
    with pytest.raises(IntegrityError, match="is missing"):
        read_ids(tmp_path / row["file_name"], (2, 3))
