"""A hash is that of a file on a disk, which ends."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from harness.core.errors import IntegrityError
from harness.files.digest import READ_BYTES, file_digest


def test_a_hash_is_that_of_all_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * (READ_BYTES // 256) + b"and more"
    path = tmp_path / "file"
    path.write_bytes(content)
    pieces: list[int] = []
    assert file_digest(path, advance=pieces.append) == hashlib.sha256(content).hexdigest()
    assert pieces == [READ_BYTES, len(b"and more")]


def test_a_file_that_grows_is_hashed_as_far_as_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"0" * READ_BYTES)

    def grow(_: int) -> None:
        if path.stat().st_size < 3 * READ_BYTES:
            with path.open("ab") as file:
                file.write(b"1" * READ_BYTES)

    assert file_digest(path, advance=grow) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["/proc/self/pagemap", "/proc/self/status"])
def test_a_file_without_a_size_has_no_hash(name: str) -> None:
    if not Path(name).exists():
        pytest.skip(f"this system has no {name}")
    with pytest.raises(IntegrityError, match="not stored on a disk"):
        file_digest(Path(name))
