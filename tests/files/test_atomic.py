"""Files are whole or absent."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from harness.core.errors import HarnessError, RunFailedError, UsageError
from harness.files.atomic import remove_leftovers, remove_leftovers_in_turn, replacing, write_text
from harness.files.failures import disk_errors


def test_a_failed_write_leaves_the_old_file_and_nothing_else(odd_tmp_path: Path) -> None:
    path = odd_tmp_path / "record.json"
    write_text(path, "old ×")
    with pytest.raises(ZeroDivisionError):
        write_half(path)
    assert path.read_text(encoding="utf-8") == "old ×"
    assert list(odd_tmp_path.iterdir()) == [path]


def write_half(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError


def test_folders_are_made_and_content_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    for text in ("one", "two"):
        write_text(path, text)
    assert path.read_text() == "two"


@pytest.mark.parametrize(
    ("number", "kind", "hint"),
    [
        (errno.ENOSPC, RunFailedError, "make room"),
        (errno.EDQUOT, RunFailedError, "make room"),
        (errno.EIO, RunFailedError, "make room"),
        (errno.EACCES, UsageError, "--root"),
        (errno.EROFS, UsageError, "--root"),
    ],
)
def test_failures_of_the_disk(number: int, kind: type[HarnessError], hint: str) -> None:
    text = os.strerror(number)
    wanted = pytest.raises(kind, match=f"cannot write some/file: {text}")
    with wanted as caught, disk_errors(Path("folder")):
        raise OSError(number, text, "some/file")
    assert hint in str(caught.value)
    with pytest.raises(kind, match="cannot write folder: "), disk_errors(Path("folder")):
        raise OSError(number, text)


def test_a_folder_of_many_files_is_not_listed_at_every_write(tmp_path: Path) -> None:
    for number in range(2000):
        (tmp_path / f"{number}.png").touch()
    spent = []
    for look in (remove_leftovers, remove_leftovers_in_turn):
        begun = time.process_time()
        for _ in range(100):
            look(tmp_path)
        spent.append(time.process_time() - begun)
    assert spent[1] < spent[0] / 3


@pytest.mark.parametrize("name", [".", "..", "/", "", "a/.."])
def test_what_can_only_be_a_folder_is_refused_as_a_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="is a folder, not a file"):
        write_text(Path(name), "text")
    assert not list(tmp_path.iterdir())
