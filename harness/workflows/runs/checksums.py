"""Checksums of the files that a run leaves, kept beside them.

``SHA256SUMS`` has the format of the program of that name, so that ``sha256sum -c SHA256SUMS`` in a
run folder checks it without this package. An entry is written before the file that it is of: when a
process is killed between the two, the file is missing or differs, and is never trusted by mistake.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from harness.core.errors import IntegrityError
from harness.files.atomic import write_text
from harness.files.digest import file_digest

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
