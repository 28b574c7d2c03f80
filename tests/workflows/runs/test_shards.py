"""Shards survive being cut anywhere, and end in the same predictions."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.core.dataset import Category
from harness.core.detections import Detections, Rle
from harness.core.errors import IntegrityError
from harness.workflows.runs.shards import (
    finished_images,
    line_of,
    new_images,
    open_shard,
    read_lines,
    write_predictions,
)

IDENTITY = {"model": "tiny", "engine": "fake", "batch_size": 1}


def lines(count: int = 5) -> list[dict[str, Any]]:
    """Image ids fall, scores repeat: what sorting must put right, and stably."""
    return [
        {
            "image_id": 100 - image,
            "predictions": [
                {"category_id": row, "bbox": [0.1, 2.0, 3.5, 4.0], "score": [0.5, 0.9, 0.5][row]}
                for row in range(image % 4 if image % 4 < 3 else 3)
            ],
        }
        for image in range(count)
    ]


def written(path: Path, rows: list[dict[str, Any]]) -> bytes:
    with open_shard(path, IDENTITY) as shard:
        for row in rows:
            shard.append(row)
    return path.read_bytes()


def merged(path: Path) -> bytes:
    write_predictions(path.with_name("predictions.json"), read_lines([path]))
    return path.with_name("predictions.json").read_bytes()


WHOLE = len(json.dumps(IDENTITY, separators=(",", ":"))) + 1


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 700))
@example(cut=0)
@example(cut=WHOLE)
@example(cut=WHOLE - 1)
def test_a_shard_cut_anywhere_continues_to_the_same_bytes(tmp_path: Path, cut: int) -> None:
    whole, torn = tmp_path / "whole.jsonl", tmp_path / "torn.jsonl"
    whole.unlink(missing_ok=True)
    content = written(whole, lines())
    torn.write_bytes(content[:cut])
    with open_shard(torn, IDENTITY) as shard:
        finished = list(shard.finished)
        for line in lines():
            if line["image_id"] not in finished:
                shard.append(line)
    assert torn.read_bytes() == content
    assert merged(torn) == merged(whole)


def test_predictions_are_sorted_by_image_then_score(tmp_path: Path) -> None:
    path = tmp_path / "shard.jsonl"
    written(path, lines())
    rows = json.loads(merged(path))
    assert [(row["image_id"], row["score"], row["category_id"]) for row in rows] == [
        (97, 0.9, 1),
        (97, 0.5, 0),
        (97, 0.5, 2),
        (98, 0.9, 1),
        (98, 0.5, 0),
        (99, 0.5, 0),
    ]


def test_no_prediction_at_all_is_an_empty_list(tmp_path: Path) -> None:
    path = tmp_path / "shard.jsonl"
    written(path, [{"image_id": 1, "predictions": []}])
    assert json.loads(merged(path)) == []


def test_another_identity_is_refused_and_named(tmp_path: Path) -> None:
    path = tmp_path / "shard.jsonl"
    before = written(path, lines(2))
    other = {**IDENTITY, "engine": "native", "threads": 2}
    with pytest.raises(IntegrityError, match="another run") as caught, open_shard(path, other):
        raise AssertionError("opened")
    assert "engine: fake there, native now" in caught.value.message
    assert "threads: None there, 2 now" in caught.value.message
    assert "model" not in caught.value.message
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", [b"{not json}\n", b"\xff\xfe\n", b"\0\0\0\n"])
def test_damage_in_the_middle_is_an_error(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "shard.jsonl"
    content = written(path, lines())
    middle = content.index(b"\n", WHOLE) + 1
    path.write_bytes(content[:middle] + damage + content[middle:])
    with pytest.raises(IntegrityError, match="damaged"), open_shard(path, IDENTITY):
        raise AssertionError("opened")


def test_each_line_is_on_disk_when_append_returns(tmp_path: Path) -> None:
    path = tmp_path / "shard.jsonl"
    with open_shard(path, IDENTITY) as shard:
        for number, line in enumerate(lines(), start=1):
            shard.append(line)
            assert len(read_lines([path])) == number


def detections(boxes: list[list[float]], scores: list[float], masks: bool = True) -> Detections:
    count = len(scores)
    return Detections(
        image_id=7,
        boxes_xyxy_px=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        scores=np.array(scores, dtype=np.float32),
        class_index=np.arange(count, dtype=np.int64),
        masks=tuple(Rle(4, 6, "abc") for _ in range(count)) if masks else None,
    )


def test_class_indices_become_category_ids_and_corners_become_sizes() -> None:
    categories = [Category(13, "a"), Category(90, "b")]
    line = line_of(detections([[1, 2, 4, 8], [0, 0, 6, 4]], [0.75, 0.1]), categories)
    assert line == {
        "image_id": 7,
        "predictions": [
            {
                "category_id": 13,
                "bbox": [1.0, 2.0, 3.0, 6.0],
                "score": 0.75,
                "segmentation": {"size": [4, 6], "counts": "abc"},
            },
            {
                "category_id": 90,
                "bbox": [0.0, 0.0, 6.0, 4.0],
                "score": 0.1,
                "segmentation": {"size": [4, 6], "counts": "abc"},
            },
        ],
    }


def test_a_network_without_masks_leaves_the_key_out() -> None:
    (row,) = line_of(detections([[1, 2, 4, 8]], [1.0], masks=False), [Category(1, "a")])[
        "predictions"
    ]
    assert "segmentation" not in row


@given(st.floats(0, 1, width=32), st.floats(0, 1, width=32))
def test_numbers_are_short_and_come_back_as_the_same_float32(first: float, second: float) -> None:
    boxes = [[first, second, first + 1, second + 1]] * 2
    rows = line_of(detections(boxes, [first, second]), [Category(1, "a"), Category(2, "b")])
    rows = json.loads(json.dumps(rows))["predictions"]
    for row, value in zip(rows, (first, second), strict=True):
        assert np.float32(row["score"]) == np.float32(value)
        assert len(repr(row["score"])) <= 16
    assert (rows[0]["score"] < rows[1]["score"]) == (first < second)


def test_a_shard_beside_it_of_another_identity_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "0000.jsonl", lines(2))
    other = {**IDENTITY, "threads": 4}
    with (
        pytest.raises(IntegrityError, match=r"0000\.jsonl belongs to another run"),
        open_shard(tmp_path / "0001.jsonl", other),
    ):
        raise AssertionError("opened")


def test_a_shard_has_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "0000.jsonl"
    told, opened = threading.Event(), threading.Event()

    def second() -> None:
        with open_shard(path, IDENTITY, notice=lambda _: told.set()) as shard:
            assert shard.finished == [100]
            opened.set()

    with open_shard(path, IDENTITY) as shard:
        waiting = threading.Thread(target=second)
        waiting.start()
        assert told.wait(10)
        assert not opened.is_set()
        shard.append(lines(1)[0])
    waiting.join(10)
    assert opened.is_set()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 700)))
def test_images_are_counted_once_however_the_shard_grows(tmp_path: Path, cuts: list[int]) -> None:
    whole, growing = tmp_path / "whole.jsonl", tmp_path / "growing.jsonl"
    whole.unlink(missing_ok=True)
    content = written(whole, lines())
    growing.unlink(missing_ok=True)
    assert new_images(growing, 0) == (0, 0)
    counted, position = 0, 0
    for cut in [*sorted(cuts), len(content)]:
        growing.write_bytes(content[:cut])
        images, position = new_images(growing, position)
        counted += images
        assert counted == max(0, content[:cut].count(b"\n") - 1)
    assert counted == len(finished_images([growing])) == 5
