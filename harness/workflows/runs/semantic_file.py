"""``semantic.json`` of a run: for each image how many pixels of each class were found to be which.

The maps of a semantic head alone are not kept: what is measured of them are these counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from harness.core.dataset import Category
from harness.core.errors import IntegrityError
from harness.files.atomic import replacing
from harness.files.json import dumps, read
from harness.measure.semantic import Confusion
from harness.workflows.runs.checksums import Line, add_sums, read_sums, require_undamaged

SEMANTIC_FILE = "semantic.json"

#: In a shard's line: class, found class and pixels, flat.
KEY = "semantic"


def write_semantic(folder: Path, lines: Sequence[Line], stuff: Sequence[Category]) -> str:
    """Write the counts of a run, with their checksum.

    Args:
        folder: The run folder.
        lines: Each image once, in any order.
        stuff: Kinds of stuff, by class from 1.

    Returns:
        sha256 of the file.

    Raises:
        IntegrityError: A line has no counts.
    """
    lacking = [line["image_id"] for line in lines if KEY not in line]
    if lacking:
        raise IntegrityError(
            f"{len(lacking)} image(s) have no counts of semantic classes in their shard, the first "
            f"is image {min(lacking)}: another version wrote it",
            hint="choose another --output, to begin the run again",
        )
    names = dumps(["things", *(one.name for one in stuff)])
    rows = [
        dumps({"image_id": line["image_id"], "truth_found_pixels": line[KEY]})
        for line in sorted(lines, key=lambda one: int(one["image_id"]))
    ]
    images = ",\n".join(rows)
    content = f'{{"classes":{names},\n"images":[\n{images}\n]}}\n'.encode()
    digest = hashlib.sha256(content).hexdigest()
    add_sums(folder, {SEMANTIC_FILE: digest})
    with replacing(folder / SEMANTIC_FILE) as temporary:
        temporary.write_bytes(content)
    return digest


def read_semantic(folder: Path, repair: str) -> tuple[dict[int, Confusion], int] | None:
    """Read the counts of a run, by image id, and the number of classes.

    Args:
        folder: The run folder.
        repair: What the user can do about a damaged file.

    Returns:
        None for a run of a version that did not count.

    Raises:
        IntegrityError: The file is missing or damaged.
    """
    path, expected = folder / SEMANTIC_FILE, read_sums(folder).get(SEMANTIC_FILE)
    if expected is None and not path.is_file():
        return None
    require_undamaged(path, expected, repair=repair)
    content = read(path)
    try:
        count = len(content["classes"])
        found = {
            row["image_id"]: _rows(row["truth_found_pixels"], count) for row in content["images"]
        }
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"{path} does not have the counts of semantic classes of a run", hint=repair
        ) from error
    return found, count


def _rows(flat: Sequence[int], count: int) -> Confusion:
    """Return rows of three numbers; ValueError for what cannot be such rows."""
    if len(flat) % 3 or not all(type(one) is int and one >= 0 for one in flat):
        raise ValueError("not rows of class, found class and pixels")
    rows = [list(flat[place : place + 3]) for place in range(0, len(flat), 3)]
    if any(max(row[:2]) >= count for row in rows):
        raise ValueError("a class that is not listed")
    return rows
