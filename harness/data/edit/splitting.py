"""Annotation files split, merged, and reduced to images that are chosen by name, id or tag.

Everything takes and gives the content of valid files, as ``harness.data.coco.read_annotations``
returns it.
"""

from __future__ import annotations

import difflib
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from harness.core.errors import IntegrityError, UsageError
from harness.core.printable import shown, shown_text
from harness.data.coco import file_key
from harness.data.convert.source_annotations import Tally
from harness.data.convert.to_coco import category_name
from harness.data.shapes import CATEGORY_KEYS
from harness.data.text_files import read_text
from harness.measure.keypoints import keypoint_count

Content = dict[str, Any]


def split(content: Content, fractions: Sequence[float], seed: int) -> list[Content]:
    """The images partitioned, each file whole in one part, every category as even as that allows.

    The rarest category comes first (as in Sechidis, Tsoumakas and Vlahavas 2011), each image goes
    to the part whose share of every category it brings nearest to what it should be; errors count
    relative to that share, squared, so that a small part gets some of a rare category, too. Sizes
    follow the fractions to one file. Rows of one file stay together: an image must not be in two
    parts. Depends on ids and the seed alone, not on the file's order.

    Args:
        content: Content of a valid file.
        fractions: Fractions of the images, adding up to 1; one a part.
        seed: Seed of the random order of images.

    Returns:
        The content of every part.
    """
    rows_of = _rows_by_file(content)
    together = {one: first for first, several in rows_of.items() for one in several}
    objects: dict[int, Counter[int]] = {first: Counter() for first in rows_of}
    for row in content["annotations"]:
        objects[together[row["image_id"]]][row["category_id"]] += 1
    order = sorted(objects)
    random.Random(seed).shuffle(order)
    parts = _assigned(order, objects, fractions)
    return [
        only_images(content, {one for first in members for one in rows_of[first]})
        for members in parts
    ]


def _rows_by_file(content: Content) -> dict[int, list[int]]:
    """The ids of the images of each file, by the smallest of them."""
    by_file: dict[str, list[int]] = defaultdict(list)
    for image in content["images"]:
        by_file[file_key(image["file_name"])].append(image["id"])
    return {min(ids): ids for ids in by_file.values()}


def _assigned(
    order: Sequence[int], objects: Mapping[int, Counter[int]], fractions: Sequence[float]
) -> list[set[int]]:
    room = _shares(len(order), fractions)
    holders = _holders(order, objects)
    totals: Counter[int] = Counter()
    for counts in objects.values():
        totals.update(counts)
    shares = [{kind: total * one for kind, total in totals.items()} for one in fractions]
    missing = [dict(share) for share in shares]
    waiting = dict.fromkeys(order)
    left = Counter({kind: len(images) for kind, images in holders.items()})
    parts: list[set[int]] = [set() for _ in fractions]

    def assign(image: int) -> None:
        free = (number for number in range(len(parts)) if room[number] > 0)
        part = min(
            free,
            key=lambda one: (_off(objects[image], missing[one], shares[one]), -room[one], one),
        )
        parts[part].add(image)
        room[part] -= 1
        del waiting[image]
        left.subtract(objects[image].keys())
        for kind, count in objects[image].items():
            missing[part][kind] -= count

    while rarest := min(((count, kind) for kind, count in left.items() if count > 0), default=None):
        for image in holders[rarest[1]]:
            if image in waiting:
                assign(image)
    for image in list(waiting):
        assign(image)
    return parts


def _holders(order: Sequence[int], objects: Mapping[int, Counter[int]]) -> dict[int, list[int]]:
    """The images that have an object of it, by category, in the order of the images."""
    holders: dict[int, list[int]] = defaultdict(list)
    for image in order:
        for kind in objects[image]:
            holders[kind].append(image)
    return holders


def _off(
    counts: Mapping[int, int], missing: Mapping[int, float], shares: Mapping[int, float]
) -> float:
    """How much farther a part is off its shares with an image of these counts than without it."""
    return sum(
        (count - 2 * missing[kind]) * count / shares[kind] ** 2 for kind, count in counts.items()
    )


def _shares(count: int, fractions: Sequence[float]) -> list[int]:
    """Whole numbers that add up to ``count``, each within one of its fraction."""
    ends = [round(count * sum(fractions[: number + 1])) for number in range(len(fractions))]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def only_images(content: Content, ids: Collection[int]) -> Content:
    """The content of a file with only some of its images; all categories stay.

    Args:
        content: Content of a valid file.
        ids: Ids of the images that stay.
    """
    return {
        **content,
        "images": [row for row in content["images"] if row["id"] in ids],
        "annotations": [row for row in content["annotations"] if row["image_id"] in ids],
    }


def subset(
    content: Content,
    *,
    categories: Sequence[str],
    image_count: int | None,
    seed: int,
    images: Collection[int] | None = None,
) -> Content:
    """Only some categories, the images that have an object of them, and of those a random few.

    Ids stay.

    Args:
        content: Content of a valid file.
        categories: Names; empty for all, and then images without an object stay, too.
        image_count: How many images; None for all.
        seed: Seed of the random choice.
        images: Ids of the only images that may be kept; None for all.

    Raises:
        UsageError: A name is not in the file, no image is left, or there are fewer images.
    """
    if images is not None:
        content = only_images(content, set(images))
    if categories:
        content = _only_categories(content, categories)
    ids = sorted(row["id"] for row in content["images"])
    if image_count is not None:
        if not 0 < image_count <= len(ids):
            raise UsageError(f"asked for {image_count} images; there are {len(ids)} to choose from")
        ids = random.Random(seed).sample(ids, image_count)
    return only_images(content, set(ids))


def _only_categories(content: Content, names: Sequence[str]) -> Content:
    known = [row["name"] for row in content["categories"]]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(
            f"no category is called {', '.join(unknown)}",
            hint=f"those there are: {', '.join(known)}",
        )
    kept = [row for row in content["categories"] if row["name"] in names]
    ids = {row["id"] for row in kept}
    rows = [row for row in content["annotations"] if row["category_id"] in ids]
    images = {row["image_id"] for row in rows}
    if not images:
        raise UsageError(f"no image has an object of {', '.join(map(shown_text, names))}")
    return {
        **content,
        "images": [row for row in content["images"] if row["id"] in images],
        "annotations": rows,
        "categories": kept,
    }


def merged(contents: Sequence[Content], prefixes: Sequence[str], tally: Tally) -> Content:
    """One file out of several: categories joined by name, images by file name.

    The first file keeps its ids; those of the others follow. An object that is there twice is kept
    once, with the keypoints of the file that has them.

    Args:
        contents: Contents of valid files.
        prefixes: Put before the file names of each.
        tally: What is joined or left out is counted here.

    Raises:
        IntegrityError: One file name stands for images of two sizes, in one file or in two; objects
            have different keypoints.
    """
    images: dict[str, dict[str, Any]] = {}
    categories: dict[str, dict[str, Any]] = {}
    rows: list[dict[str, Any]] = []
    seen: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    _require_same_keypoints(contents)
    for content, prefix in zip(contents, prefixes, strict=True):
        names = Counter(row["name"] for row in content["categories"])
        for name in (name for name, count in names.items() if count > 1):
            tally.note("categories of one file that share a name: joined", name, names[name])
        stripped = _stripped(content["categories"], tally)
        kinds = _joined(categories, stripped, lambda row: str(row["name"]))
        for row in stripped:
            _give_keypoints(categories[row["name"]], row, CATEGORY_KEYS)
        named = [{**row, "file_name": prefix + row["file_name"]} for row in content["images"]]
        _require_same_sizes(named, images, tally)
        image_ids = _joined(images, named, lambda row: file_key(row["file_name"]))
        for row in content["annotations"]:
            moved = {
                **row,
                "image_id": image_ids[row["image_id"]],
                "category_id": kinds[row["category_id"]],
            }
            shape = repr(row.get("segmentation") or row["bbox"])
            key = (moved["image_id"], moved["category_id"], shape)
            twin = next((one for one in seen[key] if _may_be_one(one, row)), None)
            if twin is not None:
                tally.drop("there twice", f"annotation {row['id']}")
                _give_keypoints(twin, row, ("keypoints", "num_keypoints"))
                continue
            seen[key].append(moved)
            rows.append(moved)
    _number(rows)
    return {"images": [*images.values()], "annotations": rows, "categories": [*categories.values()]}


def _may_be_one(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two rows of one shape are one object: their keypoints do not contradict."""
    points, others = one.get("keypoints"), other.get("keypoints")
    return not points or not others or points == others


def _give_keypoints(row: dict[str, Any], other: Mapping[str, Any], keys: Sequence[str]) -> None:
    """Add what another row says of keypoints to one that says nothing of them."""
    if not row.get("keypoints") and other.get("keypoints"):
        row |= {key: other[key] for key in keys if key in other}


def _require_same_keypoints(contents: Sequence[Content]) -> None:
    """Raise IntegrityError where objects have more keypoints in one file, or others by name."""
    counts = {count for content in contents if (count := keypoint_count(content))}
    if len(counts) > 1:
        raise IntegrityError(
            "objects have different numbers of keypoints in these files: "
            f"{', '.join(map(str, sorted(counts)))}",
            hint="merge only files whose objects have the same number of keypoints",
        )
    names: dict[str, Any] = {}
    for row in (row for content in contents for row in content["categories"]):
        name, own = category_name(row["name"]), row.get("keypoints")
        if own and names.setdefault(name, own) != own:
            raise IntegrityError(
                f"category {name} has other keypoints in another of these files:\n"
                f"  {shown(names[name])}\n  {shown(own)}",
                hint="give them the same names in the same order, or rename the categories",
            )


def _joined(
    known: dict[str, dict[str, Any]], rows: Sequence[Any], key: Callable[[Any], str]
) -> dict[int, int]:
    """Add rows to those known by ``key``; the id each id becomes."""
    used = {row["id"] for row in known.values()}
    following = max(used, default=0) + 1
    becomes = {}
    for row in rows:
        name, identifier = key(row), row["id"]
        if name not in known:
            if identifier in used:
                identifier, following = following, following + 1
            used.add(identifier)
            following = max(following, identifier + 1)
            known[name] = {**row, "id": identifier}
        becomes[row["id"]] = known[name]["id"]
    return becomes


def _stripped(rows: Sequence[dict[str, Any]], tally: Tally) -> list[dict[str, Any]]:
    """Categories without spaces around their names, which would keep equal ones apart."""
    found = []
    for row in rows:
        name = category_name(row["name"])
        if name != row["name"]:
            tally.note("category names corrected: spaces around them", name)
        found.append({**row, "name": name})
    return found


def _require_same_sizes(
    rows: Sequence[dict[str, Any]], known: Mapping[str, Mapping[str, Any]], tally: Tally
) -> None:
    """Raise IntegrityError for a file that is listed again in another size."""
    first = dict(known)
    for row in rows:
        name = row["file_name"]
        before = first.setdefault(file_key(name), row)
        if before is row:
            continue
        sizes = [(one["width"], one["height"]) for one in (before, row)]
        if sizes[0] != sizes[1]:
            within = name not in known
            where = "once and" if within else "in one file and"
            raise IntegrityError(
                f"{name} is {sizes[0][0]} × {sizes[0][1]} px {where} "
                f"{sizes[1][0]} × {sizes[1][1]} px in another {'row' if within else 'file'}: two "
                "images of one name",
                hint="leave one of them out: harness data clean FILE --images DIR --output CLEAN"
                if within
                else "say which folder each file's images are in: --folders DIR DIR",
            )
        tally.note("images that are listed more than once: objects joined", name)


def _number(rows: list[dict[str, Any]]) -> None:
    """An id of its own for each; the first of those that share one keeps it."""
    used: set[int] = set()
    following = max((row["id"] for row in rows), default=0) + 1
    for row in rows:
        if row["id"] in used:
            row["id"], following = following, following + 1
        used.add(row["id"])


#: Key of an image's row that lists its tags, as FiftyOne has them of a sample.
TAGS = "tags"


def chosen_images(
    content: Content, *, names: Path | None, ids: Sequence[int], tags: Sequence[str]
) -> set[int] | None:
    """Return the ids of the images that every given choice has; None where none is given.

    Args:
        content: Content of a valid file.
        names: Text file with a file name or an id a line; empty lines do not count, nor do lines
            that begin with ``#`` and are no name.
        ids: Ids of images; empty for all.
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
        raise UsageError("no image matches all of --names, --ids and --tags")
    return found


def _named(content: Content, path: Path) -> set[int]:
    """Return the ids of the images that the lines of a file name.

    Raises:
        UsageError: The file names nothing, or something that is not there.
    """
    by_name: dict[str, set[int]] = defaultdict(set)
    for row in content["images"]:
        by_name[row["file_name"]].add(row["id"])
    by_end: dict[str, list[str]] = defaultdict(list)
    for name in by_name:
        by_end[PurePosixPath(name).name].append(name)
    lines = [line if line in by_name else line.strip() for line in read_text(path).splitlines()]
    lines = [line for line in lines if line in by_name or (line and not line.startswith("#"))]
    if not lines:
        raise UsageError(f"{path} names no image", hint="write a file name or an id on each line")
    known = {str(row["id"]): row["id"] for row in content["images"]}
    found: set[int] = set()
    unknown = []
    for line in lines:
        match = by_name.get(line) or by_name.get(_only(by_end, line) or "")
        if not match and line in known:
            match = {known[line]}
        found |= match or set()
        unknown += [] if match else [line]
    if unknown:
        near = difflib.get_close_matches(unknown[0], by_name, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(
            f"{path}: {len(unknown)} of {len(lines)} lines name no image of the file, the first is "
            f"{shown(unknown[0])}{meant}"
        )
    return found


def _only(by_end: Mapping[str, Sequence[str]], line: str) -> str | None:
    """Return the one name that a longer or a shorter path stands for; None where several do.

    Of two paths with different folders neither stands for the other.
    """
    path = PurePosixPath(line.replace("\\", "/")).parts
    same = [
        name
        for name in by_end.get(path[-1] if path else "", ())
        if _agree(path, PurePosixPath(name).parts)
    ]
    return same[0] if len(same) == 1 else None


def _agree(first: Sequence[str], second: Sequence[str]) -> bool:
    """Return whether the shorter of two paths is the end of the longer."""
    length = min(len(first), len(second))
    return first[-length:] == second[-length:]


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
            hint=f"tags of this file: {', '.join(every[:20])}"
            if every
            else "no image of this file has tags",
        )
    return {number for number, own in listed.items() if own & set(tags)}
