"""Spans, and what a broken download may leave behind."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.files.parts import (
    JOURNAL_STEP_BYTES,
    Span,
    Stopped,
    arrived_bytes,
    gaps,
    merged,
    open_part,
    part_path,
)
from harness.files.transport import Remote

SIZE = 40
SPANS = st.lists(st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(sorted).map(tuple))
SIZE_BYTES = 3 << 20
REMOTE = Remote(url="http://x/y", size=SIZE_BYTES, validator='"1"', ranges=True)


def positions(spans: list[Span]) -> set[int]:
    return {position for start, end in spans for position in range(start, end)}


@given(SPANS)
def test_merged_spans_are_the_same_positions_apart_and_in_order(spans: list[Span]) -> None:
    result = merged(spans)
    assert positions(result) == positions(spans)
    assert all(start < end for start, end in result)
    assert all(left[1] < right[0] for left, right in pairwise(result))


@given(SPANS, st.integers(1, SIZE))
def test_gaps_are_the_rest_in_short_pieces(spans: list[Span], longest: int) -> None:
    result = gaps(spans, SIZE, longest)
    assert positions(result) == set(range(SIZE)) - positions(spans)
    assert sum(end - start for start, end in result) == len(positions(result))
    assert all(0 < end - start <= longest for start, end in result)


def test_what_was_written_is_there_the_next_time(tmp_path: Path) -> None:
    target = tmp_path / "file"
    with open_part(target, REMOTE, SIZE_BYTES, print) as part:
        part.write(10, b"later")
        part.write(0, b"first")
        assert (part.reached(), part.reached(10), part.done_bytes) == (5, 15, 10)
    with open_part(target, REMOTE, SIZE_BYTES, print) as part:
        assert part.spans == [(0, 5), (10, 15)]
    assert arrived_bytes(target) == 10
    assert part_path(target).read_bytes() == b"first\0\0\0\0\0later"


@pytest.mark.parametrize(
    "other",
    [
        Remote(url="http://x/y", size=3 << 20, validator='"2"', ranges=True),
        Remote(url="http://x/y", size=4 << 20, validator='"1"', ranges=True),
        Remote(url="http://x/y", size=3 << 20, validator='"1"', ranges=False),
        Remote(url="http://x/y", size=3 << 20, validator=None, ranges=True),
    ],
)
def test_bytes_of_another_file_are_forgotten(tmp_path: Path, other: Remote) -> None:
    with open_part(tmp_path / "file", REMOTE, SIZE_BYTES, print) as part:
        part.write(0, b"first")
    with open_part(tmp_path / "file", other, SIZE_BYTES, print) as part:
        assert part.spans == []
        assert part.path.read_bytes() == b""


def test_the_same_file_elsewhere_is_the_same_file(tmp_path: Path) -> None:
    elsewhere = Remote(url="http://z", size=REMOTE.size, validator=REMOTE.validator, ranges=True)
    with open_part(tmp_path / "file", REMOTE, SIZE_BYTES, print) as part:
        part.write(0, b"first")
    with open_part(tmp_path / "file", elsewhere, SIZE_BYTES, print) as part:
        assert part.done_bytes == 5


@pytest.mark.parametrize("damage", ["", "nonsense", "1 2 3\n4\n-1 5\n", "0 999999999999\n"])
def test_a_damaged_journal_means_fetching_again(tmp_path: Path, damage: str) -> None:
    with open_part(tmp_path / "file", REMOTE, SIZE_BYTES, print) as part:
        part.write(0, b"first")
    journal = tmp_path / "file.part.journal"
    header = journal.read_text().splitlines(keepends=True)[0] if damage else ""
    journal.write_text(header + damage)
    with open_part(tmp_path / "file", REMOTE, SIZE_BYTES, print) as part:
        assert part.spans == []


def test_the_journal_is_behind_by_one_step_at_most(tmp_path: Path) -> None:
    chunk = bytes(JOURNAL_STEP_BYTES // 4)
    with open_part(tmp_path / "file", REMOTE, SIZE_BYTES, print) as part:
        for number in range(11):
            part.write(number * len(chunk), chunk)
            # Read as another process would after a kill, while this one still writes.
            lost = part.done_bytes - arrived_bytes(tmp_path / "file")
            assert 0 <= lost < JOURNAL_STEP_BYTES


def test_a_late_writer_is_refused(tmp_path: Path) -> None:
    with open_part(tmp_path / "file", REMOTE, SIZE_BYTES, print) as part:
        part.write(0, b"first")
    with pytest.raises(Stopped):
        part.write(0, b"late!")
    assert part_path(tmp_path / "file").read_bytes() == b"first"


@pytest.mark.parametrize(
    ("position", "data"),
    [(0, b"other"), (4, b"xy"), (SIZE_BYTES - 1, b"xy"), (SIZE_BYTES, b"x"), (-1, b"x")],
)
def test_no_byte_is_written_twice_and_none_beyond_the_end(
    tmp_path: Path, position: int, data: bytes
) -> None:
    with open_part(tmp_path / "file", REMOTE, SIZE_BYTES, print) as part:
        part.write(0, b"first")
        with pytest.raises(ValueError, match="not wanted"):
            part.write(position, data)
        assert part.path.read_bytes() == b"first"


def test_nothing_is_written_once_it_is_sealed(tmp_path: Path) -> None:
    with open_part(tmp_path / "file", REMOTE, SIZE_BYTES, print) as part:
        part.write(0, b"first")
        part.seal()
        with pytest.raises(Stopped):
            part.write(5, b"late")
        assert part.path.read_bytes() == b"first"


def test_a_part_that_is_too_long_is_forgotten(tmp_path: Path) -> None:
    with open_part(tmp_path / "file", REMOTE, SIZE_BYTES, print) as part:
        part.write(0, b"first")
    with part_path(tmp_path / "file").open("r+b") as file:
        file.truncate(SIZE_BYTES + 1)
    with open_part(tmp_path / "file", REMOTE, SIZE_BYTES, print) as part:
        assert part.spans == []
        assert part.path.read_bytes() == b""


def test_a_failure_wakes_who_waits(tmp_path: Path) -> None:
    with open_part(tmp_path / "file", REMOTE, SIZE_BYTES, print) as part:
        part.fail(ValueError("the first"))
        part.fail(ValueError("the second"))
        with pytest.raises(ValueError, match="the first"):
            part.wait_until_whole()
