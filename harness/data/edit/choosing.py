"""Images of an annotation file chosen by name, id or tag."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from harness.core.errors import UsageError
from harness.core.shown import shown
from harness.data.text_files import read_text

Content = dict[str, Any]

#: Key of an image's row that lists its tags, as FiftyOne has them of a sample.
TAGS = "tags"


def chosen_images(
    content: Content, *, names: Path | None, ids: Sequence[int], tags: Sequence[str]
) -> set[int] | None:
    """Return the ids of the images that every given choice has; None where none is given.

    Args:
        content: Of a valid file.
        names: Text file with a file name or an id a line; empty lines and lines that begin with
            ``#`` do not count.
        ids: Of images; empty for all.
        tags: One of which an image has in its list ``tags``; empty for all.

    Raises:
        UsageError: Something that is named is not in the file, or no image is left.
    """
    choices: list[set[int]] = []
    if names is not None:
        choices.append(_named(content, names))
    if ids:
        known = {row["id"] for row in content["images"]}
        unknown = [number for number in ids if number not in known]
        if unknown:
            raise UsageError(f"--ids: no image of the {len(known)} there are has id {unknown[0]}")
        choices.append(set(ids))
    if tags:
        choices.append(_tagged(content, tags))
    if not choices:
        return None
    found = set.intersection(*choices)
    if not found:
        raise UsageError("no image has all that is asked for: --names, --ids and --tags together")
    return found


def _named(content: Content, path: Path) -> set[int]:
    """Return the ids of the images that the lines of a file name.

    Raises:
        UsageError: The file names nothing, or something that is not there.
    """
    lines = [line.strip() for line in read_text(path).splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise UsageError(f"{path} names no image", hint="write a file name or an id on each line")
    by_name: dict[str, set[int]] = defaultdict(set)
    for row in content["images"]:
        by_name[row["file_name"]].add(row["id"])
    by_end: dict[str, set[int]] = defaultdict(set)
    for name, numbers in list(by_name.items()):
        by_end[PurePosixPath(name).name] |= numbers
    known = {str(row["id"]): row["id"] for row in content["images"]}
    found: set[int] = set()
    unknown = []
    for line in lines:
        match = by_name.get(line) or _only(by_end, line)
        if not match and line in known:
            match = {known[line]}
        found |= match
        unknown += [] if match else [line]
    if unknown:
        near = difflib.get_close_matches(unknown[0], by_name, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(
            f"{path}: {len(unknown)} of {len(lines)} lines name no image of the file, the first is "
            f"{shown(unknown[0])}{meant}"
        )
    return found


def _only(by_end: Mapping[str, Collection[int]], line: str) -> set[int]:
    """Return the one image whose base name is the line's; none where several have it."""
    match = by_end.get(PurePosixPath(line.replace("\\", "/")).name, ())
    return set(match) if len(match) == 1 else set()


def _tagged(content: Content, tags: Sequence[str]) -> set[int]:
    listed = {
        row["id"]: {str(tag) for tag in row[TAGS]}
        for row in content["images"]
        if isinstance(row.get(TAGS), list)
    }
    every = sorted(set().union(*listed.values())) if listed else []
    unknown = [tag for tag in tags if tag not in every]
    if unknown:
        raise UsageError(
            f"--tags: no image has the tag {unknown[0]!r}",
            hint=f"there are {', '.join(every[:20])}"
            if every
            else "no image of this file has tags",
        )
    return {number for number, own in listed.items() if own & set(tags)}
