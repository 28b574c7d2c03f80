"""The checksums of a run's files."""

from __future__ import annotations

import json
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from harness.workflows.runs import checksums
from harness.workflows.runs.checksums import (
    BLOCK,
    add_sums,
    key_of,
    read_sealed,
    read_sealed_header,
    read_sums,
    seal,
)

OLD, NEW = "0" * 64, "1" * 64


def test_entries_are_added_and_replaced(tmp_path: Path) -> None:
    add_sums(tmp_path, {"record.json": OLD, "shards/0000.jsonl": OLD})
    add_sums(tmp_path, {"record.json": NEW})
    assert read_sums(tmp_path) == {"record.json": NEW, "shards/0000.jsonl": OLD}


def test_a_shard_that_is_no_longer_there_leaves_no_entry(tmp_path: Path) -> None:
    """`sha256sum -c` and the next --resume would go on missing it."""
    add_sums(tmp_path, {"record.json": OLD, "shards/0000.jsonl": OLD, "shards/0003.jsonl": OLD})
    add_sums(tmp_path, {"shards/0000.jsonl": NEW}, below="shards")
    assert read_sums(tmp_path) == {"record.json": OLD, "shards/0000.jsonl": NEW}


NAMES = (
    *("a b.png", "a\\b.png", "a\\nb.png", "\\a.png", "a\nb.png", "a\r", "\n", "\\\r\n"),
    *("a\u2028b", "a\x85b", "a\x0bb\x1c", " a ", "*a", "名.png"),
)


def test_names_may_have_any_character(tmp_path: Path) -> None:
    sums = {name: sha256(name.encode()).hexdigest() for name in NAMES}
    add_sums(tmp_path, sums)
    assert read_sums(tmp_path) == sums


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_sha256sum_reads_the_same_names(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).write_bytes(name.encode())
    add_sums(tmp_path, {name: sha256(name.encode()).hexdigest() for name in NAMES})
    subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=tmp_path, check=True
    )


@pytest.mark.parametrize("score", ["1" + "0" * 400, "true", '"1"', "null"])
def test_a_line_with_a_score_that_is_no_number_is_named(tmp_path: Path, score: str) -> None:
    path, identity = tmp_path / "shard.jsonl", {"model": "tiny"}
    key = key_of(identity)
    line = {"image_id": 7, "predictions": [{"category_id": 1, "score": json.loads(score)}]}
    sound = {"image_id": 8, "predictions": [{"category_id": 1, "score": 0.5}]}
    path.write_bytes(seal(identity, key) + seal(line, key) + seal(sound, key))
    found = read_sealed(path)
    assert found.faults == ["line 2 is not that of an image"]
    assert [line for _, line in found.images] == [sound]


def test_damage_among_many_lines_is_named_where_it_is(tmp_path: Path) -> None:
    """So many that several threads hash them."""
    path, identity = tmp_path / "shard.jsonl", {"model": "tiny"}
    key, other = key_of(identity), key_of({"model": "large"})
    count = 5 * BLOCK + 3
    lines = [{"image_id": number, "predictions": [{"score": 0.5}]} for number in range(count)]
    raws = [seal(line, key) for line in lines]
    damaged, foreign = (0, BLOCK - 2, BLOCK - 1, count - 1), 3 * BLOCK
    for number in damaged:
        raws[number] = raws[number].replace(b"0.5", b"0.6")
    raws[foreign] = seal(lines[foreign], other)
    path.write_bytes(seal(identity, key) + b"".join(raws) + b'{"image_id":')
    found = read_sealed(path)
    sound = [number for number in range(count) if number not in (*damaged, foreign)]
    assert found.images == [(raws[number], lines[number]) for number in sound]
    assert found.faults == [
        *(f"line {number + 2} is damaged: its checksum does not fit" for number in damaged[:3]),
        f"line {foreign + 2} belongs to another run",
        f"line {count + 1} is damaged: its checksum does not fit",
    ]


def test_a_header_is_read_without_the_other_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, identity = tmp_path / "0000.jsonl", {"model": "tiny"}
    key = key_of(identity)
    header, line = seal(identity, key), seal({"image_id": 1, "predictions": []}, key)
    plain = json.dumps(identity).encode() + b"\n"
    for content in (
        b"",
        header[:-1],
        header[:9] + b"!" + header[10:] + line,
        line,
        seal(identity, key_of({"model": "another"})) + line,
        plain,
        plain + line,
    ):
        path.write_bytes(content)
        assert read_sealed_header(path) == read_sealed(path).header
    assert read_sealed_header(tmp_path / "missing.jsonl") is None
    path.write_bytes(header + line)
    monkeypatch.setattr(checksums, "read_sealed", None)
    assert read_sealed_header(path) == identity
