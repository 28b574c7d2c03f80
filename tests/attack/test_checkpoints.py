"""Checkpoint files as weapons: nothing runs, and memory is bounded by the size of the file."""

from __future__ import annotations

import io
import json
import pickle
import struct
import time
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core.errors import HarnessError, IntegrityError
from harness.zoo.weights import read_checkpoint
from tests.attack.memory import Peak, traced_memory
from tests.attack.trials import LostError, Trials, mutated, seeds

__all__ = ["traced_memory"]

pytestmark = pytest.mark.usefixtures("traced_memory")

TENSORS = {
    "a.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "a.bias": np.ones(3, np.float32),
}

#: What reading may take: an empty list is 56 bytes and one in the file; a little for the smallest.
TIMES, AT_LEAST_BYTES = 64, 8 << 20


def whole_files() -> dict[str, bytes]:
    """A good file of each kind, by name."""
    import torch
    from safetensors.numpy import save

    tensors = {key: torch.from_numpy(value) for key, value in TENSORS.items()}
    zipped, old = io.BytesIO(), io.BytesIO()
    torch.save({"model": tensors, "epoch": 3}, zipped)
    torch.save(OrderedDict(tensors), old, _use_new_zipfile_serialization=False)
    return {
        "m.pth": zipped.getvalue(),
        "old.pth": old.getvalue(),
        "m.safetensors": save(TENSORS),
        "m.pkl": pickle.dumps({"model": TENSORS}, protocol=2),
        "p0.pkl": pickle.dumps({"model": TENSORS}, protocol=0),
        "p5.pkl": pickle.dumps({"model": TENSORS}, protocol=5),
        "t.pkl": pickle.dumps(tensors),
    }


def read_within_bounds(path: Path) -> None:
    """The file is read or refused, briefly and without taking more memory than it may."""
    peak = Peak()
    try:
        found = read_checkpoint(path)
    except HarnessError as error:
        if len(str(error)) > 5000 or "\x1b" in str(error):
            raise AssertionError("a message that is too long, or no text") from error
        return
    finally:
        peak.require_at_most(TIMES * path.stat().st_size + AT_LEAST_BYTES)
    if not all(isinstance(value, np.ndarray) for value in found.values()):
        raise LostError("something that is no array")


@pytest.mark.parametrize(
    "name", ["m.pth", "old.pth", "m.safetensors", "m.pkl", "p0.pkl", "p5.pkl", "t.pkl"]
)
def test_damaged_checkpoints(trials: Trials, tmp_path: Path, name: str) -> None:
    whole = whole_files()[name]
    path = tmp_path / name
    path.write_bytes(whole)
    for key, value in read_checkpoint(path).items():
        np.testing.assert_array_equal(value, TENSORS[key])
    tokens = (b"\xff\xff\xff\x7f", b"q\x00", b"h\x00", b"R", b"b", b"(", b"t", b"PK\x03\x04", b"2")
    for chance in seeds(400, 8):
        path.write_bytes(mutated(whole, chance, tokens))
        with trials.one(chance.random()):
            read_within_bounds(path)


def laughs() -> Iterator[tuple[str, bytes]]:
    """Pickles of a few bytes that mean a great deal."""
    nested = b"".join(b"(h%ch%ct" % (n, n) + b"q%c" % (n + 1) for n in range(60))
    yield "nested tuple as a type", b"\x80\x02)q\x00" + nested + b"cnumpy\ndtype\n(h\x3ctR."
    text = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20)
    encode = b"c_codecs\nencode\nq\x01h\x00X\x06\x00\x00\x00latin1q\x02\x86Rq\x03"
    again = b"".join(b"h\x01h\x00h\x02\x86Rr" + struct.pack("<I", 10 + n) for n in range(5000))
    yield "one text encoded 5,000 times", b"\x80\x02" + text + b"q\x00" + encode + again + b"."
    pairs = b"](" + b"".join(b"K%cK\x00\x86" % (n % 256) for n in range(50_000)) + b"eq\x00"
    table = b"ccollections\nOrderedDict\nq\x01" + b"".join(
        b"h\x01h\x00\x85Rr" + struct.pack("<I", 10 + n) for n in range(5000)
    )
    yield "one table made 5,000 times", b"\x80\x02" + pairs + table + b"."
    yield "a text longer than the file", b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b"a."
    yield "bytes longer than the file", b"\x80\x04B" + struct.pack("<I", (1 << 32) - 1) + b"a."
    number = b"\x8b" + struct.pack("<I", 1 << 20) + b"\x7f" * (1 << 20)
    yield (
        "an integer of 8 million bits as keys",
        (b"\x80\x02}(" + number + b"q\x00" + b"K\x01" + b"h\x00K\x02" * 100_000 + b"u."),
    )
    name = b"a" * (1 << 20)
    yield "a name of a megabyte", b"\x80\x02c" + name + b"\n" + name + b"\n."
    yield "escape codes in a name", b"\x80\x02c\x1b[31mos\nsys\x1b]0;tem\x07\n."
    yield "a key of a megabyte", b"\x80\x02}X" + struct.pack("<I", 1 << 20) + name + b"K\x01s."
    yield "lists in lists", b"\x80\x02" + b"]" * 500_000 + b"a" * 499_999 + b"."


def test_pickles_that_mean_more_than_they_say(trials: Trials, tmp_path: Path) -> None:
    for name, data in laughs():
        (tmp_path / "m.pkl").write_bytes(data)
        with trials.one(name):
            read_within_bounds(tmp_path / "m.pkl")


def zips() -> Iterator[tuple[str, bytes]]:
    """Files of torch whose tensors are larger than the file."""
    import torch

    one = torch.zeros(1)
    for name, tensors in {
        "a tensor of 3 billion views of a number": {"w": one.expand(3_000_000_000)},
        "a thousand tensors of 100 million": {
            f"w{n}": one.expand(100_000_000) for n in range(1000)
        },
        "half precision": {"w": one.bfloat16().expand(3_000_000_000)},
    }.items():
        file = io.BytesIO()
        torch.save(tensors, file)
        yield name, file.getvalue()
    file = io.BytesIO()
    torch.save({"w": torch.zeros(4)}, file)
    whole = file.getvalue()
    yield "compressed parts", _rewritten(whole, compression=zipfile.ZIP_DEFLATED)
    yield "a part that is a bomb", _rewritten(whole, replaced=b"\0" * (64 << 20), compression=8)
    yield "a part that is gone", _rewritten(whole, dropped="/data/0")
    yield "two tables", _rewritten(whole, doubled=True)


def _rewritten(
    whole: bytes,
    *,
    compression: int = zipfile.ZIP_STORED,
    replaced: bytes | None = None,
    dropped: str = "nothing",
    doubled: bool = False,
) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(file, "w", compression) as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith("/data/0") and replaced is not None:
                data = replaced
            if dropped not in entry.filename:
                new.writestr(entry.filename, data)
            if doubled and entry.filename.endswith("data.pkl"):
                new.writestr("other/data.pkl", data)
    return file.getvalue()


def test_files_of_torch_that_are_larger_inside(trials: Trials, tmp_path: Path) -> None:
    for name, data in zips():
        (tmp_path / "m.pth").write_bytes(data)
        with trials.one(name):
            read_within_bounds(tmp_path / "m.pth")
            with pytest.raises(HarnessError):
                read_checkpoint(tmp_path / "m.pth")


HEADERS: dict[str, Any] = {
    "a shape beyond the numbers": {"w": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4]}},
    "a negative shape": {"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
    "offsets that overlap": {
        "v": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        "w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
    },
    "offsets beyond the file": {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}},
    "offsets backwards": {"w": {"dtype": "F32", "shape": [0], "data_offsets": [4, 0]}},
    "a type of text": {"w": {"dtype": "\x1b[31mU8" * 1000, "shape": [4], "data_offsets": [0, 4]}},
    "no shape": {"w": {"dtype": "F32", "data_offsets": [0, 4]}},
    "numbers for tables": {"w": 3},
    "forty dimensions": {"w": {"dtype": "F32", "shape": [1] * 40, "data_offsets": [0, 4]}},
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_of_safetensors_that_lie(tmp_path: Path, name: str) -> None:
    header = json.dumps(HEADERS[name]).encode()
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    with pytest.raises(HarnessError):
        read_checkpoint(path)
    read_within_bounds(path)


@pytest.mark.parametrize(
    "name", ["a\0b.safetensors", "../x.safetensors", "/x.safetensors", "x.bin"]
)
def test_an_index_that_names_no_file_beside_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {"a": name}}), "utf-8")
    with pytest.raises(IntegrityError, match="not a file beside it"):
        read_checkpoint(path)


def test_a_line_takes_time_with_its_length_and_not_with_the_square(tmp_path: Path) -> None:
    """20 MB took minutes."""
    path = tmp_path / "line.pkl"
    path.write_bytes(b"I" + b"9" * 20_000_000 + b"\n.")
    begun = time.process_time()
    with pytest.raises(IntegrityError, match="cut off or damaged"):
        read_checkpoint(path)
    assert time.process_time() - begun < 10
