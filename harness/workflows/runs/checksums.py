"""Checksums of the files that a run leaves: beside them, and in each line of JSON.

``SHA256SUMS`` has the format of the program of that name, so that ``sha256sum -c SHA256SUMS`` in a
run folder checks it without this package. An entry is written before the file that it is of: when a
process is killed between the two, the file is missing or differs, and is never trusted by mistake.

The last two members of a sealed line are ``run`` and ``checksum``, 16 hexadecimal digits each: of
the sha256 of the run's identity, and of the sha256 of the line up to there. Both are removed from
what is read. Files of older versions have lines without them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.core.errors import IntegrityError
from harness.data.shapes import finite
from harness.files.atomic import write_text
from harness.files.digest import file_digest
from harness.files.environment import usable_cpus
from harness.files.json import dumps, parse_strictly

SUMS = "SHA256SUMS"

#: What is added to the results of a run whose files have no checksums.
UNKNOWN = (
    "{path} has no checksum (an older version of harness wrote it): whether it was damaged since "
    "is not known"
)

#: As that program writes them: a line that begins with a backslash has a name with escapes.
_LINE = re.compile(r"(\\?)([0-9a-f]{64})  ([^\n]+)")

#: What would break a line, and the backslash itself, by their escapes.
_ESCAPES = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}


def read_sums(folder: Path) -> dict[str, str]:
    """Read the checksums of a run folder.

    Args:
        folder: The run folder.

    Returns:
        Hexadecimal sha256 by path relative to ``folder``; empty for a run of an older version.

    Raises:
        IntegrityError: The file of checksums is itself damaged.
    """
    path = folder / SUMS
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise IntegrityError(f"{path} is damaged: {error}") from error
    sums = {}
    lines = text.removesuffix("\n").split("\n") if text else []
    for number, line in enumerate(lines, start=1):
        parts = _LINE.fullmatch(line.removesuffix("\r"))
        if parts is None:
            raise IntegrityError(
                f"{path} is damaged: line {number} is not a sha256, two spaces and a file name",
                hint=f"delete {SUMS} to go on without checksums",
            )
        sums[_unescaped(parts[3]) if parts[1] else parts[3]] = parts[2]
    return sums


def add_sums(folder: Path, sums: Mapping[str, str], *, below: str | None = None) -> None:
    """Write checksums of files that are about to be written.

    Args:
        folder: The run folder.
        sums: Hexadecimal sha256 by path relative to ``folder``; other entries stay as they are.
        below: A folder of which ``sums`` has all files: its other entries are left out.
    """
    try:
        known = read_sums(folder)
    except IntegrityError:
        known = {}
    if below is not None:
        known = {name: one for name, one in known.items() if not name.startswith(f"{below}/")}
    merged = sorted({**known, **sums}.items())
    write_text(folder / SUMS, "".join(_line(name, digest) for name, digest in merged))


def _line(name: str, digest: str) -> str:
    escaped = name
    for escape, character in _ESCAPES.items():
        escaped = escaped.replace(character, escape)
    return f"{'' if escaped == name else chr(92)}{digest}  {escaped}\n"


def _unescaped(name: str) -> str:
    return re.sub(r"\\[\\nr]", lambda found: _ESCAPES[found[0]], name)


def write_checked(folder: Path, name: str, text: str) -> None:
    """Write the file ``name`` of a run with its checksum.

    Args:
        folder: The run folder.
        name: The file, relative to ``folder``.
        text: Its whole content, written as UTF-8.
    """
    content = text.encode("utf-8", errors="replace")  # as ``write_text`` does
    add_sums(folder, {name: hashlib.sha256(content).hexdigest()})
    write_text(folder / name, text)


def damage_of(folder: Path, names: Mapping[str, str]) -> list[str]:
    """Compare files of a run with their checksums.

    Args:
        folder: The run folder.
        names: The expected sha256 by path relative to ``folder``.

    Returns:
        One sentence for each file that is missing or differs.
    """
    faults = []
    for name, expected in names.items():
        path = folder / name
        if not path.is_file():
            faults.append(f"{path} is missing")
        elif (found := file_digest(path)) != expected:
            faults.append(
                f"{path} is not the file that was written:\n"
                f"  expected sha256 {expected}\n  found    sha256 {found}"
            )
    return faults


def require_undamaged(path: Path, expected: str | None, *, repair: str) -> bool:
    """Compare one file with its checksum.

    Args:
        path: The file.
        expected: Its sha256; None where none was kept.
        repair: What the user can do about a damaged file.

    Returns:
        Whether there was a checksum to compare with.

    Raises:
        IntegrityError: The file differs.
    """
    if expected is None:
        return False
    for fault in damage_of(path.parent, {path.name: expected}):
        raise IntegrityError(fault, hint=repair)
    return True


#: A line of a shard: an image and its predictions in COCO's results format without the image id, or
#: the identity of the run.
Line = dict[str, Any]

_SEAL = re.compile(rb',"run":"([0-9a-f]{16})","checksum":"([0-9a-f]{16})"\}\n')
#: Lines that are hashed one after the other, and the threads that hash blocks of them.
BLOCK, MOST_HASHING = 64, 4
_SEAL_BYTES = len(',"run":"","checksum":""}\n') + 32


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedFile:
    """What is sound in a file of sealed lines, and what is not."""

    header: Line | None = None
    """The first line, an identity; None where it is missing or damaged."""

    key: str | None = None
    """Key of the run; None in a file without checksums, or without a sound line."""

    images: list[tuple[bytes, Line]] = field(default_factory=list)
    """The other lines as they are in the file, and without their seal."""

    faults: list[str] = field(default_factory=list)
    """A sentence for each line that is damaged or belongs to another run."""


def key_of(identity: Line) -> str:
    """Return the key of a run.

    Args:
        identity: Identity of the run; the order of its members does not matter.

    Returns:
        16 hexadecimal digits, the same for equal identities.
    """
    return _digest(json.dumps(identity, sort_keys=True, ensure_ascii=False).encode("utf-8"))


def seal(line: Line, key: str) -> bytes:
    """Return ``line`` as a sealed line of JSON.

    Args:
        line: Not empty, without the members ``run`` and ``checksum``.
        key: Key of the run it belongs to.
    """
    return seal_text(dumps(line).encode("utf-8"), key)


def seal_text(text: bytes, key: str) -> bytes:
    """As ``seal``.

    Args:
        text: JSON of the line, as ``dumps`` makes it.
        key: Key of the run it belongs to.
    """
    body = text[:-1] + f',"run":"{key}"'.encode()
    return body + f',"checksum":"{_digest(body)}"}}\n'.encode()


def read_sealed(path: Path) -> SealedFile:
    """Read a file of sealed lines; a torn last line is left out, a missing file is empty.

    Args:
        path: A shard, or the identity of a run.

    Returns:
        Its sound lines. Lines without a checksum are sound only in a file that has no line with
        one.
    """
    try:
        whole = path.read_bytes()
    except FileNotFoundError:
        return SealedFile()
    raws = [part + b"\n" for part in whole.split(b"\n")[:-1]]
    opened = _all_opened(raws)
    if not any(key for key, _ in opened) and not any(_SEAL.search(raw) for raw in raws):
        return _without_seals(raws)
    return _with_seals(raws, opened)


def read_sealed_header(path: Path) -> Line | None:
    """Read the header alone: what ``read_sealed`` says of it, mostly without the other lines.

    Args:
        path: As in ``read_sealed``.
    """
    with suppress(FileNotFoundError), path.open("rb") as file:
        raw = file.readline()
        key, line = _opened(raw, _key_in(raw))
        if line is not None and "image_id" not in line and key == key_of(line):
            return line
    return read_sealed(path).header  # without a sound header other lines decide


def _with_seals(raws: list[bytes], opened: list[tuple[str | None, Line | None]]) -> SealedFile:
    """Return the sound lines of a file with checksums, and what is wrong with the others."""
    first_key, first = opened[0]
    header = first if first is not None and "image_id" not in first else None
    if header is not None and first_key != key_of(header):
        header = None
    counts = Counter(key for key, _ in opened if key is not None)
    key = first_key if header is not None else next(iter(dict(counts.most_common(1))), None)
    images, faults = [], []
    for number, (raw, (own, line)) in enumerate(zip(raws, opened, strict=True), start=1):
        if number == 1 and header is not None:
            continue
        if line is None:
            faults.append(f"line {number} is damaged: its checksum does not fit")
        elif own != key:
            faults.append(f"line {number} belongs to another run")
        elif not _is_image(line):
            faults.append(f"line {number} is not that of an image")
        else:
            images.append((raw, line))
    return SealedFile(header=header, key=key, images=images, faults=faults)


def _without_seals(raws: list[bytes]) -> SealedFile:
    """Return what a file of an older version holds."""
    header: Line | None = None
    images, faults = [], []
    for number, raw in enumerate(raws, start=1):
        line = _parsed(raw)
        if number == 1 and line is not None and not {"image_id", "run", "checksum"} & line.keys():
            header = line
        elif line is None or not _is_image(line):
            faults.append(f"line {number} is damaged")
        else:
            images.append((raw, line))
    return SealedFile(header=header, images=images if header else [], faults=faults)


def _all_opened(raws: Sequence[bytes]) -> list[tuple[str | None, Line | None]]:
    """Return key and content of each sealed line; (None, None) of one that is damaged.

    They are hashed in other threads, which need no lock of Python for that, and parsed in this one.
    """
    blocks = [raws[begin : begin + BLOCK] for begin in range(0, len(raws), BLOCK)]
    if len(blocks) < 2:
        return [_opened(raw, _key_in(raw)) for raw in raws]
    with ThreadPoolExecutor(min(MOST_HASHING, usable_cpus())) as pool:
        return [
            _opened(raw, key)
            for block, keys in zip(blocks, pool.map(_keys_in, blocks), strict=True)
            for raw, key in zip(block, keys, strict=True)
        ]


def _keys_in(raws: Sequence[bytes]) -> list[str | None]:
    return [_key_in(raw) for raw in raws]


def _key_in(raw: bytes) -> str | None:
    """Return the key of a sealed line; None where its checksum does not fit."""
    found = _SEAL.fullmatch(raw[-_SEAL_BYTES:])
    if found is None:
        return None
    end = len(raw) - len(',"checksum":""}\n') - 16
    return found[1].decode() if _digest(raw[:end]).encode() == found[2] else None


def _opened(raw: bytes, key: str | None) -> tuple[str | None, Line | None]:
    """Return the key and the content of a sealed line with a key."""
    line = None if key is None else _parsed(raw[: len(raw) - _SEAL_BYTES] + b"}")
    return (None, None) if line is None else (key, line)


def _parsed(raw: bytes) -> Line | None:
    """Return the object that a line contains; None where it is not one."""
    try:
        line = parse_strictly(raw)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) else None


def _is_image(line: Line) -> bool:
    """Return whether a line names an image and lists predictions with scores."""
    predictions = line.get("predictions")
    if type(line.get("image_id")) is not int or not isinstance(predictions, list):
        return False
    if not {dict}.issuperset(map(type, predictions)):
        return False
    return finite([row.get("score") for row in predictions])


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
