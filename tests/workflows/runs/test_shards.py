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
from harness.core.detections import Detections
from harness.core.errors import IntegrityError
from harness.core.run_lengths import Rle
from harness.files.json import dumps
from harness.workflows.runs import merging
from harness.workflows.runs.checksums import key_of, seal
from harness.workflows.runs.line_text import line_of
from harness.workflows.runs.merging import merged_predictions, write_merged, write_predictions
from harness.workflows.runs.shards import (
    finished_images,
    new_images,
    open_shard,
    read_lines,
    read_stored,
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


WHOLE = len(seal(IDENTITY, key_of(IDENTITY)))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 1300))
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


SCORES = st.sampled_from([0.5, 0.25, 0.9, 1e-05, 1.0, 1])
TEXTS = st.text(max_size=6) | st.sampled_from(
    ['},{"category_id":1', '}],"', "\\", '"', "\\u0041", "é", "\ud800", "]}"]
)


@st.composite
def found_rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows as networks make them, and some with members that no network makes."""
    members: dict[str, st.SearchStrategy[Any]] = {
        "bbox": st.lists(st.floats(-1e6, 1e6, width=32), min_size=4, max_size=4),
        "score": SCORES,
        "segmentation": st.fixed_dictionaries({"size": st.just([4, 5]), "counts": TEXTS}),
        "keypoints": st.lists(st.floats(0, 9), max_size=6),
        "odd": st.just([{"a": 1}]) | st.just([{"x": 2}, {"category_id": 3}]) | TEXTS,
    }
    kept = ["bbox", "score"]
    kept += [one for one in ("segmentation", "keypoints", "odd") if draw(st.booleans())]
    if draw(st.booleans()):
        kept = draw(st.permutations(kept))
    row = {"category_id": st.integers(1, 90), **{one: members[one] for one in kept}}
    return draw(st.lists(st.fixed_dictionaries(row), max_size=5))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(found_rows(), min_size=1, max_size=4), more=st.booleans())
def test_text_that_is_taken_from_shards_is_what_would_be_written(
    tmp_path: Path, rows: list[list[dict[str, Any]]], more: bool
) -> None:
    shard, written_again, taken = (tmp_path / name for name in ("s.jsonl", "a.json", "b.json"))
    shard.unlink(missing_ok=True)
    written(
        shard,
        [
            {"image_id": -number, "predictions": one, **({"image_file": "x"} if more else {})}
            for number, one in enumerate(rows)
        ],
    )
    stored = read_stored([shard])
    own = [line for _, line in stored]

    expected = write_predictions(written_again, own)
    found, texts = merged_predictions(own, [raw for raw, _ in stored])
    write_merged(taken, texts)

    assert found == expected
    assert taken.read_bytes() == written_again.read_bytes()
    assert json.loads(taken.read_bytes()) == found


def test_rows_of_networks_are_not_written_a_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "shard.jsonl"
    written(path, lines())
    expected = merged(path)
    stored = read_stored([path])

    def never(rows: list[dict[str, Any]]) -> str:
        raise AssertionError(rows)

    monkeypatch.setattr(merging, "_lines_of", never)
    filled = [one for one in stored if one[1]["predictions"]]
    _, texts = merged_predictions([line for _, line in filled], [raw for raw, _ in filled])
    write_merged(tmp_path / "p.json", texts)

    assert (tmp_path / "p.json").read_bytes() == expected


def test_text_of_another_version_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "0000.jsonl"
    path.write_bytes(
        json.dumps(IDENTITY).encode() + b"\n" + json.dumps(lines(1)[0]).encode() + b"\n"
    )

    assert [raw for raw, _ in read_stored([path])] == [b""]


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


@pytest.mark.parametrize("damage", [b"{not json}\n", b"\xff\xfe\n", b"\0\0\0\n", b"\n"])
def test_a_line_that_is_none_is_named_and_removed(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "shard.jsonl"
    content = written(path, lines())
    middle = content.index(b"\n", WHOLE) + 1
    path.write_bytes(content[:middle] + damage + content[middle:])
    notices: list[str] = []
    with open_shard(path, IDENTITY, notice=notices.append) as shard:
        assert shard.finished == [100, 99, 98, 97, 96]
    assert path.read_bytes() == content
    assert len(notices) == 1
    assert f"{path}: line 3 is damaged" in notices[0]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_costs_its_own_image_and_no_other(
    tmp_path: Path, where: float, bit: int
) -> None:
    whole, bent = tmp_path / "whole.jsonl", tmp_path / "bent.jsonl"
    whole.unlink(missing_ok=True)
    content = written(whole, lines())
    flipped = bytearray(content)
    place = int(where * len(content))
    flipped[place] ^= 1 << bit
    bent.write_bytes(flipped)
    notices: list[str] = []
    assert {line["image_id"] for line in read_lines([bent], notice=notices.append)} <= set(
        range(96, 101)
    )
    with open_shard(bent, IDENTITY, notice=notices.append) as shard:
        finished = list(shard.finished)
        # A newline that is gone joins two lines; one at the end makes its line a torn one.
        assert len(finished) >= 3 if content[place : place + 1] == b"\n" else 4
        for line in lines():
            if line["image_id"] not in finished:
                shard.append(line)
    assert merged(bent) == merged(whole)
    assert notices or place == len(content) - 1 or len(finished) == 5


def test_a_line_of_another_run_is_not_taken(tmp_path: Path) -> None:
    path, other = tmp_path / "a" / "0000.jsonl", tmp_path / "b" / "0000.jsonl"
    content = written(path, lines(2))
    with open_shard(other, {**IDENTITY, "engine": "native"}) as shard:
        shard.append(lines(3)[2])
    path.write_bytes(content + other.read_bytes())
    notices: list[str] = []
    assert finished_images([path], notice=notices.append) == {99, 100}
    assert [notice.partition(": ")[2].partition(";")[0] for notice in notices] == [
        "line 4 belongs to another run",
        "line 5 belongs to another run",
    ]


def test_a_shard_of_another_run_is_set_aside(tmp_path: Path) -> None:
    path, other = tmp_path / "a" / "0000.jsonl", tmp_path / "b" / "0000.jsonl"
    written(path, lines(2))
    with open_shard(other, {**IDENTITY, "engine": "native"}) as shard:
        shard.append(lines(3)[2])
    foreign = other.read_bytes()
    path.write_bytes(foreign)
    notices: list[str] = []
    assert finished_images([path], notice=notices.append) == set()
    with open_shard(path, IDENTITY, notice=notices.append) as shard:
        assert shard.finished == []
    assert path.with_name("0000.jsonl.foreign").read_bytes() == foreign
    assert all("belongs to another run" in notice for notice in notices)
    assert len(notices) == 2


def test_an_image_that_two_shards_have_counts_once(tmp_path: Path) -> None:
    written(tmp_path / "0000.jsonl", lines(2))
    written(tmp_path / "0001.jsonl", lines(3))
    paths = [tmp_path / "0000.jsonl", tmp_path / "0001.jsonl"]
    assert sorted(line["image_id"] for line in read_lines(paths)) == [98, 99, 100]


def plain(*rows: dict[str, Any]) -> bytes:
    """A shard as older versions wrote it."""
    return "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows).encode()


def test_a_shard_without_checksums_is_used_with_a_note(tmp_path: Path) -> None:
    path, new = tmp_path / "0000.jsonl", tmp_path / "new" / "0000.jsonl"
    path.write_bytes(plain(IDENTITY, *lines(3)))
    assert finished_images([path]) == {98, 99, 100}
    notices: list[str] = []
    with open_shard(path, IDENTITY, notice=notices.append) as shard:
        for line in lines()[3:]:
            shard.append(line)
    assert len(notices) == 1
    assert "has no checksums" in notices[0]
    assert path.read_bytes() == written(new, lines())


def test_what_is_no_prediction_in_a_shard_without_checksums_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "0000.jsonl"
    odd: list[Any] = [{"image_id": "7", "predictions": []}, {"image_id": 7}, [], 3]
    odd += [{"image_id": 7, "predictions": [{"score": "x"}]}, {"image_id": 7, "predictions": {}}]
    path.write_bytes(plain(IDENTITY, *lines(1), *odd) + b'{"image_id":1,"predictions":[NaN]}\n')
    notices: list[str] = []
    assert finished_images([path], notice=notices.append) == {100}
    assert len(notices) == len(odd) + 1


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
@given(cuts=st.lists(st.integers(0, 1300)))
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


#: Text that looks like the end of a row and the beginning of the next.
TEXTS = st.sampled_from(["0", '},{"image_id":', "\\u0041", "\ud800", "ä", '"', "\\"])
ROWS = st.fixed_dictionaries(
    {"category_id": st.integers(0, 3), "score": st.sampled_from([0.5, 1, 1e-7])},
    optional={
        "segmentation": st.fixed_dictionaries({"size": st.just([2, 3]), "counts": TEXTS}),
        "parts": st.lists(st.fixed_dictionaries({"image_id": st.integers(1, 9)}), max_size=3),
    },
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(ROWS, max_size=4), max_size=4))
def test_every_prediction_is_on_a_line_as_if_it_was_written_alone(
    tmp_path: Path, rows: list[list[dict[str, Any]]]
) -> None:
    path = tmp_path / "predictions.json"
    known = [{"image_id": number, "predictions": one} for number, one in enumerate(rows)]
    written_rows = write_predictions(path, known)
    alone = "[" + ",".join("\n" + dumps(row) for row in written_rows) + "\n]\n"
    assert path.read_bytes() == alone.encode()
    assert [row["image_id"] for row in written_rows] == [
        number for number, one in enumerate(rows) for _ in one
    ]
