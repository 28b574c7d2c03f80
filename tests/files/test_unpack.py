"""Archives: good, hostile, damaged, and unpacked in two goes."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import IntegrityError
from harness.core.progress import Silent
from harness.files.unpack import unpack

FILES = {"val/one.jpg": b"one" * 999, "val/two.jpg": b"two", "annotations/all.json": b"{}"}
Kind = Literal["zip", "tgz"]


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in {f"{Path(name).parent}/" for name in files if "/" in name}:
            archive.writestr(name, b"")
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def make_tgz(path: Path, files: dict[str, bytes], *extra: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in extra:
            archive.addfile(member)
    return path


def make(kind: Kind, folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"archive.{kind}"
    return make_zip(path, files) if kind == "zip" else make_tgz(path, files)


def bring(archive: Path, folder: Path, kind: Kind | None = None) -> int:
    kind = kind or ("zip" if archive.suffix == ".zip" else "tgz")
    return unpack(archive, folder, kind=kind, progress=Silent())


def below(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_everything_comes_out(kind: Kind, odd_tmp_path: Path) -> None:
    archive = make(kind, odd_tmp_path / "in", FILES)
    assert bring(archive, odd_tmp_path / "out") == 3
    assert below(odd_tmp_path / "out") == FILES


@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_only_named_files_come_out_and_the_others_are_checked(kind: Kind, tmp_path: Path) -> None:
    archive = make(kind, tmp_path / "in", FILES)
    first, *others = FILES
    assert unpack(archive, tmp_path / "out", kind=kind, progress=Silent(), only=[first]) == 1
    assert below(tmp_path / "out") == {first: FILES[first]}
    bad = make(kind, tmp_path / "bad", {**FILES, "../outside": b"bad"})
    with pytest.raises(IntegrityError, match="would be outside its folder"):
        unpack(bad, tmp_path / "none", kind=kind, progress=Silent(), only=others)


@pytest.mark.parametrize("kind", ["zip", "tgz"])
@pytest.mark.parametrize(
    "name", ["../outside", "val/../../outside", "/outside", "val/..", "..\\outside"]
)
def test_nothing_leaves_the_folder(kind: Kind, name: str, tmp_path: Path) -> None:
    archive = make(kind, tmp_path / "in", {**FILES, name: b"bad"})
    with pytest.raises(IntegrityError, match="would be outside its folder"):
        bring(archive, tmp_path / "out")
    assert below(tmp_path / "out") == {}
    assert not list(tmp_path.rglob("outside"))


@given(parts=st.lists(st.sampled_from(["..", ".", "a", "b", ""]), min_size=1, max_size=5))
def test_whatever_the_name_files_stay_inside(
    parts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("escape")
    archive = make_zip(folder / "archive.zip", {"/".join(parts) + "file": b"x"})
    try:
        bring(archive, folder / "out")
    except IntegrityError:
        assert ".." in "/".join([*parts, ""]) or parts[0] == ""
    outside = [path for path in folder.rglob("*file") if folder / "out" not in path.parents]
    assert outside == []


def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path) -> None:
    for number, kind in enumerate(
        [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
    ):
        member = tarfile.TarInfo("val/strange")
        member.type, member.linkname = kind, "../../outside"
        archive = make_tgz(tmp_path / f"{number}.tgz", FILES, member)
        with pytest.raises(IntegrityError, match="'val/strange', which is a link or a device"):
            bring(archive, tmp_path / "out")
    assert below(tmp_path / "out") == {}


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", FILES)
    with zipfile.ZipFile(archive, "a") as content:
        link = zipfile.ZipInfo("val/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        content.writestr(link, "../../outside")
    with pytest.raises(IntegrityError, match="'val/link', which is a link or a device"):
        bring(archive, tmp_path / "out")
    assert below(tmp_path / "out") == {}


@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_bombs_are_refused(kind: Kind, tmp_path: Path) -> None:
    archive = make(kind, tmp_path / "in", {"zeros": bytes(20 << 20)})
    with pytest.raises(IntegrityError, match="over 100 times its size"):
        bring(archive, tmp_path / "out")
    assert below(tmp_path / "out") == {}


@pytest.mark.parametrize("kind", ["zip", "tgz"])
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.95])
def test_a_cut_archive_is_an_error(kind: Kind, keep: float, tmp_path: Path) -> None:
    archive = make(kind, tmp_path, FILES)
    archive.write_bytes(archive.read_bytes()[: int(archive.stat().st_size * keep)])
    with pytest.raises(IntegrityError, match="is not a whole archive"):
        bring(archive, tmp_path / "out")
    assert below(tmp_path / "out") == {}


def test_a_flipped_bit_is_an_error(tmp_path: Path) -> None:
    for kind, make_stored in (("zip", stored_zip), ("tgz", stored_tgz)):
        archive = tmp_path / f"a.{kind}"
        content = bytearray(make_stored(archive))
        content[content.index(b"mark")] ^= 1
        archive.write_bytes(content)
        with pytest.raises(IntegrityError, match="is not a whole archive"):
            bring(archive, tmp_path / kind)
        assert below(tmp_path / kind) == {}


def stored_zip(path: Path) -> bytes:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("file", b"mark")
    return path.read_bytes()


def stored_tgz(path: Path) -> bytes:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        member = tarfile.TarInfo("file")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"mark"))
    path.write_bytes(gzip.compress(tar.getvalue(), compresslevel=0))
    return path.read_bytes()


def test_an_encrypted_zip_is_an_error(tmp_path: Path) -> None:
    content = bytearray(stored_zip(tmp_path / "a.zip"))
    content[6] |= 1  # general purpose flag of the local header and of the directory
    content[content.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(IntegrityError, match="is not a whole archive"):
        bring(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_files_that_are_there_are_not_written_again(kind: Kind, tmp_path: Path) -> None:
    archive = make(kind, tmp_path / "in", FILES)
    bring(archive, tmp_path / "out")
    (tmp_path / "out" / "val" / "two.jpg").unlink()
    before = {path: path.stat().st_ino for path in (tmp_path / "out").rglob("*.j*")}
    bring(archive, tmp_path / "out")
    assert {path: path.stat().st_ino for path in before} == before
    assert below(tmp_path / "out") == FILES


@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_a_file_with_other_content_is_replaced(kind: Kind, tmp_path: Path) -> None:
    archive = make(kind, tmp_path / "in", FILES)
    bring(archive, tmp_path / "out")
    (tmp_path / "out" / "val" / "two.jpg").write_bytes(b"2wo")
    bring(archive, tmp_path / "out")
    assert below(tmp_path / "out") == FILES
