"""A folder of images, and which of them an annotation means: one matcher for all formats."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from harness.data.image_files import SUFFIXES
from harness.data.own_results import files_below

#: Label Studio puts eight hexadecimal digits of a UUID before the name of an uploaded file.
UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")

#: Where its server keeps uploads, by number of project: such a folder does not identify the image.
UPLOADS = re.compile(r"^(?:.*/)?(?:upload|images)/\d+$|^$")

#: Folders named after the kind of their files, not after certain images: ``xml/a.xml`` means
#: ``img/a.jpg``, and ``day2/a.xml`` does not mean ``day1/a.jpg``.
KINDS_OF_FILES = frozenset(
    (
        *("annotation", "annotations", "ann", "anns", "labels", "label", "labelme", "coco", "voc"),
        *("json", "jsons", "xml", "xmls", "txt", "image", "images", "img", "imgs", "jpegimages"),
        *("jpg", "jpgs", "jpeg", "png", "pngs", "photo", "photos", "picture", "pictures", "pics"),
        *("data", "dataset", "datasets", ".", "..", "/"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The files that an annotation may mean."""

    names: tuple[str, ...] = ()
    """None, one, or several: then it is not clear which."""

    is_exact: bool = False
    """The path is right as it stands; else only its ending is."""

    contradicted: tuple[str, ...] = ()
    """Files of that name in folders which the annotation does not mean, where there is no other."""


class ImageFolder:
    """The image files below one folder, found by what an annotation calls them."""

    def __init__(self, folder: Path, *, extract: bool = False, source: Path | None = None) -> None:
        """List the files of ``folder``.

        Args:
            folder: The folder; it need not be there yet.
            extract: Whether images that are only inside their annotations may be written there.
            source: The folder of the annotations, where each image has a file of its own.
        """
        self.folder = folder
        self.extract = extract
        self.source = source
        self.names = sorted(
            path.relative_to(folder).as_posix()
            for path in files_below(folder, "*")
            if path.suffix.lower() in SUFFIXES and path.is_file()
        )
        """Paths relative to the folder, with forward slashes, sorted."""
        self._exact = set(self.names)
        self._by_last: dict[str, list[str]] = defaultdict(list)
        for name in self.names:
            self._by_last[_folded(PurePosixPath(name).name)].append(name)

    def match(self, names: Iterable[str], beside: Path, *, is_sidecar: bool = False) -> Match:
        """The files that the first helpful one of ``names`` may mean.

        A path that is right as it stands counts first. Then the base name decides, in any case and
        Unicode form, also percent-encoded or as an address, and the folders before it: the file
        that shares most of them is the one, and one whose folders contradict never is.

        Args:
            names: What the annotation calls its image, the likeliest first.
            beside: The folder they are relative to, where that is known.
            is_sidecar: Whether each image has an annotation file of its own: then the folder of
                that file counts where a name has none.
        """
        names = [*names]
        for plain in (one for name in names for one in paths_in(name)):
            direct = self._relative(beside / plain) or self._relative(self.folder / plain)
            if direct is not None:
                return Match(names=(direct,), is_exact=True)
        against: dict[str, None] = {}
        for plain in (one for name in names for one in spellings(name)):
            found, contradicted = self._by_ending(plain, beside if is_sidecar else None)
            if found:
                return Match(names=tuple(found))
            against |= dict.fromkeys(contradicted)
        return Match(contradicted=tuple(against))

    def has_own(self, stem: str, beside: Path) -> bool:
        """Whether an image called ``stem`` is in the folder ``beside`` of its annotations."""
        return any(self._relative(beside / f"{stem}{suffix}") is not None for suffix in SUFFIXES)

    def _relative(self, path: Path) -> str | None:
        """The name of a file of this folder that a path means as it stands."""
        place, folder = os.path.abspath(path), os.path.abspath(self.folder)  # noqa: PTH100
        for one, root in ((place, folder), (None, None)):
            try:
                whole = Path(one) if one else path.resolve()
                name = whole.relative_to(root or self.folder.resolve()).as_posix()
            except (ValueError, OSError, RuntimeError):  # elsewhere; with a NUL; a circle of links
                continue
            if name in self._exact:
                return name
        return None

    def _by_ending(self, plain: str, beside: Path | None) -> tuple[list[str], list[str]]:
        """The files of one base name that share most folders, and those that contradict."""
        parts = [part for part in PurePosixPath(plain).parts if part not in ("/", ".", "..")]
        if not parts:
            return [], []
        stated = parts[:-1] or self._folders_of(beside)
        ranks: dict[str, tuple[int, int]] = {}
        against = []
        for name in self._by_last.get(_folded(parts[-1]), ()):
            folders = PurePosixPath(name).parts[:-1]
            mine, theirs = _identifying(stated), _identifying(folders)
            shared = _shared_ending(mine, theirs)
            if shared < min(len(mine), len(theirs)):
                against.append(name)
            else:
                ranks[name] = shared, _shared_ending(stated, folders)
        best = max(ranks.values(), default=None)
        return [name for name, rank in ranks.items() if rank == best], against

    def _folders_of(self, beside: Path | None) -> list[str]:
        """The folders below the source in which a file with annotations is."""
        for root in (self.source, self.folder):
            if beside is None or root is None or not beside.is_relative_to(root):
                continue
            if parts := list(beside.relative_to(root).parts):
                return parts
        return []


def _folded(name: str) -> str:
    """A name without the differences between systems: case, and composed or decomposed letters."""
    return unicodedata.normalize("NFC", name).casefold()


def _identifying(folders: Iterable[str]) -> list[str]:
    """The folders whose names identify the images in them."""
    return [one for one in map(_folded, folders) if one not in KINDS_OF_FILES]


def _shared_ending(first: Iterable[str], second: Iterable[str]) -> int:
    count = 0
    for one, other in zip(reversed([*first]), reversed([*second]), strict=False):
        if _folded(one) != _folded(other):
            break
        count += 1
    return count


def paths_in(name: str) -> tuple[str, ...]:
    """The paths that a name or an address stands for, with forward slashes, the likeliest first.

    Args:
        name: A path of either system, or an address: ``/data/upload/3/1a2b3c4d-cat.jpg`` and
            ``/data/local-files/?d=pets/cat.jpg`` of Label Studio's server, ``s3://…``,
            ``https://…?signature``. Any of it may be percent-encoded.
    """
    plain = name.replace("\\", "/")
    try:
        parts = urlsplit(plain)
        asked = parse_qs(parts.query).get("d", []) if plain.startswith("/data/local-files") else []
    except ValueError:  # brackets, or characters that no address has
        return (plain,) if plain else ()
    # A "#" or "?" in a plain name belongs to it; in an address nothing after it does.
    whole = [] if parts.scheme in ("http", "https", "s3", "gs", "azure-blob") or asked else [plain]
    paths = [one for path in [*whole, *(asked or [parts.path])] for one in (path, unquote(path))]
    relative = (path.replace("\\", "/").lstrip("/") for path in paths)
    return tuple(dict.fromkeys(one for one in [*whole, *relative] if one))


def spellings(name: str) -> tuple[str, ...]:
    """The paths of ``paths_in``, then what else the file may be called on disk.

    Uploads to Label Studio mostly lose the prefix of their name, and always their folder.
    """
    paths = paths_in(name)
    found = [*paths]
    for path in paths:
        folder, _, last = path.rpartition("/")
        bare = UPLOAD_PREFIX.sub("", last)
        found += [last, bare] if UPLOADS.match(folder) else [f"{folder}/{bare}"]
    return tuple(dict.fromkeys(found))
