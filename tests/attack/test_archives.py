"""Archives that somebody else wrote: whatever they hold, they end in a sentence or unpack whole."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest

from harness.core.errors import IntegrityError
from harness.core.progress import Silent
from harness.files.unpack import unpack
from tests.attack.trials import LostError, Trials, mutated, seeds

Kind = Literal["zip", "tgz"]
CONTENT = {"val/one.jpg": b"one" * 999, "val/two.jpg": b"two", "all.json": b"{}" * 50}
ZIP_TOKENS = (b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\x06\x06", b"\xff" * 4, b"\0" * 4, b"../")
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def make_zip(names: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in names.items():
            archive.writestr(name, content)
    return file.getvalue()


def make_tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def bring(content: bytes, folder: Path, kind: Kind) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"archive.{kind}"
    archive.write_bytes(content)
    unpack(archive, folder / "out", kind=kind, progress=Silent())


def refused(content: bytes, folder: Path, kind: Kind, match: str) -> None:
    with pytest.raises(IntegrityError, match=match):
        bring(content, folder, kind)
    assert not [path for path in folder.rglob("*") if path.is_file() and path.suffix == ".jpg"]


NAMES = {
    "empty": "",
    "dot": "./",
    "too long": "a" * 300 + ".jpg",
    "too deep": "a/" * 600 + "b.jpg",
    "surrogate": "b\udcff.jpg",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_that_no_file_can_have(name: str, tmp_path: Path) -> None:
    content = make_tar((tarfile.TarInfo(name), b"x"))
    refused(gzip.compress(content, 0), tmp_path, "tgz", "not a usable name|not a whole archive")


@pytest.mark.parametrize("name", [b"", b"\xff\xfe.jpg", b"a\0b.jpg", b"/abs.jpg", b"a\\b.jpg"])
@pytest.mark.parametrize("utf8", [False, True])
def test_names_of_odd_bytes_in_a_zip(name: bytes, utf8: bool, tmp_path: Path) -> None:
    placeholder = b"N" * (len(name) or 1)
    content = bytearray(make_zip({placeholder.decode(): b"x"}).replace(placeholder, name or b"N"))
    if not name:
        for mark, place in ((b"PK\3\4", 26), (b"PK\1\2", 28)):  # the length of the name
            content[content.index(mark) + place] = 0
    if utf8:
        for mark, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
            content[content.index(mark) + place + 1] |= 0x08
    try:
        bring(bytes(content), tmp_path, "zip")
    except IntegrityError:
        return
    unpacked = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(unpacked) == 1, "either refused or unpacked inside its folder"


@pytest.mark.parametrize("method", METHODS)
def test_damaged_compression(method: int, trials: Trials, tmp_path: Path) -> None:
    whole = make_zip(CONTENT, method)
    for number, chance in enumerate(seeds(150, 2)):
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[chance.randrange(len(whole) * 2 // 3)] ^= 1 << chance.randrange(8)
        _try(trials, bytes(damaged), tmp_path / str(number), "zip")


def test_fuzzed_zips(trials: Trials, tmp_path: Path) -> None:
    whole = make_zip(CONTENT)
    for number, chance in enumerate(seeds(600, 5)):
        _try(trials, mutated(whole, chance, ZIP_TOKENS), tmp_path / str(number), "zip")


def test_fuzzed_tars(trials: Trials, tmp_path: Path) -> None:
    plain = [(tarfile.TarInfo(name), content) for name, content in CONTENT.items()]
    long = (tarfile.TarInfo("x" * 150 + ".jpg"), b"long")
    whole = make_tar(*plain, long)
    tokens = (b"x", b"L", b"g", b"7777777", b"\x80\xff\xff\xff", b"30 mtime=1\n", b"ustar\0")
    for number, chance in enumerate(seeds(600, 5)):
        damaged = gzip.compress(mutated(whole, chance, tokens), 1)
        _try(trials, damaged, tmp_path / str(number), "tgz")
    for number, chance in enumerate(seeds(200, 2)):
        damaged = mutated(gzip.compress(whole, 1), chance)
        _try(trials, damaged, tmp_path / f"outside {number}", "tgz")


def _try(trials: Trials, content: bytes, folder: Path, kind: Kind) -> None:
    """Refused with a sentence, or unpacked with nothing outside and nothing half written."""
    with trials.one(folder.name):
        with suppress(IntegrityError):
            bring(content, folder, kind)
        outside = set(folder.iterdir()) - {folder / "out", folder / f"archive.{kind}"}
        if outside or [path for path in folder.rglob("*") if ".tmp" in path.name]:
            raise LostError(f"files where none should be: {outside}")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE])
def test_a_header_larger_than_memory(kind: bytes, tmp_path: Path) -> None:
    member = tarfile.TarInfo("header")
    member.type, member.size = kind, 3 << 30
    header = member.tobuf(tarfile.USTAR_FORMAT)
    # Padded with what does not compress, so that its size alone would be no reason to refuse it.
    padding = gzip.compress(header, 1)
    refused(padding + gzip.compress(bytes(1 << 20), 9), tmp_path, "tgz", "header of|times its size")


def test_content_after_the_end_without_end(tmp_path: Path) -> None:
    whole = gzip.compress(make_tar((tarfile.TarInfo("one.txt"), b"one")), 1)
    refused(whole + gzip.compress(bytes(64 << 20), 9), tmp_path, "tgz", "times its size")


@pytest.mark.parametrize(
    "names", [("val/a", "val/a"), ("val/a", "val//a"), ("val", "val/a"), ("val/a", "val/./a")]
)
def test_files_that_take_each_others_place(names: tuple[str, str], tmp_path: Path) -> None:
    members = [(tarfile.TarInfo(name), name.encode()) for name in names]
    refused(gzip.compress(make_tar(*members), 0), tmp_path, "tgz", "twice|as a file and a folder")
