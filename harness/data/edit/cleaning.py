"""Errors of an annotation file corrected, or left out, and counted.

More is accepted here than ``harness.data.coco`` accepts: any JSON with the three lists. The result
is valid there. Ids and further keys stay as they are wherever they can.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.core.errors import IntegrityError
from harness.core.printable import shown
from harness.core.progress import Progress, Silent
from harness.core.requests.data import SameNames
from harness.data.coco import LARGEST_ID, make_writable, name_fault
from harness.data.convert.source_annotations import Tally, stated_size
from harness.data.convert.to_coco import category_name
from harness.data.edit.cleaning_objects import cleaned_object, has_mask
from harness.data.image_files import UnreadableImage, is_file, size_of
from harness.data.shapes import CATEGORY_KEYS, KeypointRows, category_fault
from harness.files.digest import file_digest
from harness.measure.masks import size_fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaning:
    """What is requested beyond the correction of errors."""

    images: Path | None = None
    """Folder of the images; None to take sizes and names from the file."""

    decode: bool = False
    """Decode the pixels of every image, and leave out those that are damaged."""

    same_names: SameNames = "keep"
    """Categories that share a name stay so, get numbers behind it, or become one."""

    renumber: bool = False
    """Category ids from 1 without gaps."""

    keep_boxes: bool = False
    """Objects without a mask stay in a file that has masks."""

    progress: Progress = field(default_factory=Silent)
    """Where progress is reported."""


def cleaned(content: dict[str, Any], cleaning: Cleaning, tally: Tally) -> dict[str, Any]:
    """The content of a valid annotation file.

    Args:
        content: Parsed JSON with the three lists; what JSON cannot hold is taken out of it.
        cleaning: What is requested.
        tally: What is left out or changed is counted here.

    Raises:
        IntegrityError: Something cannot be decided: one id for two images, a flag that is none.
    """
    make_writable(content)
    rows = [row for row in content["annotations"] if isinstance(row, dict)]
    annotated = {_key(row.get("image_id")) for row in rows}
    images, image_ids = _images(content["images"], cleaning, annotated, tally)
    categories, category_ids = _categories(content["categories"], cleaning, tally)
    if len(rows) < len(content["annotations"]):
        tally.drop(
            "that are not JSON objects", "annotations", len(content["annotations"]) - len(rows)
        )
    masks_wanted = not cleaning.keep_boxes and any(
        has_mask(row.get("segmentation")) for row in rows
    )
    sizes = {row["id"]: (row["height"], row["width"]) for row in images}
    kept: list[dict[str, Any]] = []
    seen: set[Any] = set()
    points = KeypointRows(labelled=True)
    with cleaning.progress.task("annotations", total=len(rows), unit="annotations") as advance:
        for row in rows:
            advance(1)
            where = f"annotation {shown(row.get('id'))}"
            image, category = image_ids.get(_key(row.get("image_id"))), row.get("category_id")
            if image is None:
                tally.drop("of an image that is not listed, or was left out", where)
                continue
            if _key(category) not in category_ids:
                tally.drop("of a category that is not listed", where)
                continue
            named = {**row, "image_id": image, "category_id": category_ids[_key(category)]}
            one = cleaned_object(named, sizes[image], where, tally, masks_wanted=masks_wanted)
            if one is not None and not _repeats(one, seen, where, tally):
                kept.append(_with_valid_keypoints(one, points, where, tally))
    _give_ids(kept, tally)
    counts = {row["category_id"]: len(row["keypoints"]) // 3 for row in kept if "keypoints" in row}
    categories = [_with_valid_names(row, counts, tally) for row in categories]
    return {**content, "images": images, "annotations": kept, "categories": categories}


def _with_valid_keypoints(
    row: dict[str, Any], points: KeypointRows, where: str, tally: Tally
) -> dict[str, Any]:
    """The row, without keypoints that no reader takes."""
    if points.fault(row) is None:
        return row
    tally.note("keypoints that are not valid: left out, the object stays", where)
    return {key: one for key, one in row.items() if key not in ("keypoints", "num_keypoints")}


def _with_valid_names(
    category: dict[str, Any], counts: Mapping[int, int], tally: Tally
) -> dict[str, Any]:
    """The category, without names of keypoints that are more or fewer than its objects have."""
    named = len(category.get("keypoints") or ())
    if named in (0, counts.get(category["id"], named)):
        return category
    return _without_keypoints(category, tally)


def _without_keypoints(category: dict[str, Any], tally: Tally) -> dict[str, Any]:
    name = shown(category["name"])
    tally.note("categories with keypoints that are not valid: these are left out", name)
    return {key: one for key, one in category.items() if key not in CATEGORY_KEYS}


def _key(identifier: Any) -> Any:
    """An id as a key of a dict; None for what cannot be one, such as a boolean or NaN."""
    is_id = isinstance(identifier, (int, str, float)) and not isinstance(identifier, bool)
    return identifier if is_id and identifier == identifier else None


def _images(
    rows: list[Any], cleaning: Cleaning, annotated: Collection[Any], tally: Tally
) -> tuple[list[dict[str, Any]], dict[Any, int]]:
    """The rows that stay, and the id each listed id becomes."""
    by_name: dict[str, dict[str, Any]] = {}
    by_id = _names_by_id(rows)
    left_out: set[Any] = set()
    with cleaning.progress.task("images", total=len(rows), unit="img") as advance:
        for position, row in enumerate(rows):
            advance(1)
            known = by_id.get(_key(row.get("id"))) if isinstance(row, dict) else None
            if known is None or row.get("file_name") != known:
                tally.image("without an id and a usable file name", f"images[{position}]")
                continue
            name, where = row["file_name"], f"image {shown(row['id'])}: {shown(row['file_name'])}"
            sized = _sized(row, cleaning, where, tally)
            if isinstance(sized, str):
                tally.image(sized, where)
                left_out.add(row["id"])
            elif name not in by_name:
                by_name[name] = sized
            elif _size(by_name[name]) != _size(sized):
                tally.image("listed again in another size", where)
                left_out.add(row["id"])
            else:
                tally.image("listed again: annotations joined", where)
    if cleaning.images is not None:
        _drop_twins(by_name, cleaning.images, annotated, tally)
    numbers = _whole_ids([row["id"] for row in by_name.values()])
    kept = [{**row, "id": one} for row, one in zip(by_name.values(), numbers, strict=True)]
    ids = dict(zip(by_name, numbers, strict=True))
    becomes = {key: ids[name] for key, name in by_id.items() if name in ids and key not in left_out}
    return kept, becomes


def _size(row: dict[str, Any]) -> tuple[int, int]:
    return row["height"], row["width"]


def _names_by_id(rows: list[Any]) -> dict[Any, str]:
    """The file name of every id; of rows without either nothing."""
    names: dict[Any, str] = {}
    for row in rows:
        given = row if isinstance(row, dict) else {}
        name, identifier = given.get("file_name"), _key(given.get("id"))
        if identifier is None or not isinstance(name, str) or name_fault(name, "file name"):
            continue
        if names.setdefault(identifier, name) != name:
            raise IntegrityError(
                f"the id {identifier} is that of two images, {names[identifier]} and {name}: "
                "it is not clear which annotations belong to which",
                hint="give one of them an id of its own, and its annotations the same",
            )
    return names


def _whole_ids(found: list[Any]) -> list[int]:
    """The ids themselves where all are integers of 64 bits, else 1, 2, 3, …."""
    if all(type(one) is int and abs(one) <= LARGEST_ID for one in found):
        return found
    return list(range(1, len(found) + 1))


def _sized(
    row: dict[str, Any], cleaning: Cleaning, where: str, tally: Tally
) -> dict[str, Any] | str:
    """The row with a height and a width of whole numbers, or why it cannot stay."""
    size = stated_size(row.get("height"), row.get("width"))
    if cleaning.images is not None:
        path = cleaning.images / row["file_name"]
        if not is_file(path):
            return "whose file is missing"
        try:
            found = size_of(path, decode=cleaning.decode)
        except UnreadableImage:
            return "whose file is not a readable image"
        if size is None:
            tally.note("images whose size was not in the file", where)
            size = (found.height_px, found.width_px)
        if size == found.stored_px != (found.height_px, found.width_px):
            return (
                "whose EXIF turns them: harness data convert FILE --from coco --images DIR turns "
                "their objects, too"
            )
        if size != (found.height_px, found.width_px):
            return "of another size than listed"
    if size is None:
        return "without a height and a width"
    if size_fault(*size) is not None:
        return "of more pixels than are read"
    return {**row, "height": size[0], "width": size[1]}


def _drop_twins(
    by_name: dict[str, dict[str, Any]], folder: Path, annotated: Collection[Any], tally: Tally
) -> None:
    """Leave out files of the same bytes: one image must not be in two parts of a split.

    The first that has annotations stays.
    """
    by_size: dict[int, list[str]] = {}
    for name in sorted(by_name, key=lambda name: by_name[name]["id"] not in annotated):
        by_size.setdefault((folder / name).stat().st_size, []).append(name)
    for names in by_size.values():
        first: dict[str, str] = {}
        for name in names if len(names) > 1 else ():
            known = first.setdefault(file_digest(folder / name), name)
            if known != name:
                tally.image("the same image as another", f"{name}, as {known}")
                del by_name[name]


def _categories(
    rows: list[Any], cleaning: Cleaning, tally: Tally
) -> tuple[list[dict[str, Any]], dict[Any, int]]:
    """The rows that stay, and the id each listed id becomes."""
    listed: dict[Any, dict[str, Any]] = {}
    for row in rows:
        named = _named_row(row, tally)
        if named is None:
            tally.note("categories without an id and a name: left out", shown(row))
        elif listed.setdefault(named["id"], named)["name"] != named["name"]:
            raise IntegrityError(
                f"the category id {named['id']} is that of {listed[named['id']]['name']} and of "
                f"{named['name']}: it is not clear which annotations belong to which"
            )
    numbers = dict(zip(listed, _whole_ids(list(listed)), strict=True))
    rows = [{**row, "id": numbers[key]} for key, row in listed.items()]
    rows.sort(key=lambda row: row["id"])
    kept, becomes = _named(rows, cleaning.same_names, tally)
    if cleaning.renumber:
        order = {row["id"]: number for number, row in enumerate(kept, start=1)}
        changed = sum(old != new for old, new in order.items())
        if changed:
            tally.note("categories with another id", "ids now from 1 without gaps", changed)
        kept = [{**row, "id": order[row["id"]]} for row in kept]
        becomes = {old: order[new] for old, new in becomes.items()}
    return kept, {key: becomes[numbers[key]] for key in listed}


def _named_row(row: Any, tally: Tally) -> dict[str, Any] | None:
    """The row of a category with a name of text and no spaces around it; None if it has none."""
    if not isinstance(row, dict) or _key(row.get("id")) is None:
        return None
    given = row.get("name")
    if isinstance(given, bool) or not isinstance(given, (str, int, float)):
        return None
    name = category_name(str(given))
    if name != given:
        tally.note("category names corrected: spaces around them, or no Unicode text", shown(name))
    named = {**row, "name": name}
    if category_fault(named) is None:
        return named
    return _without_keypoints(named, tally)


def _named(
    rows: list[dict[str, Any]], same_names: SameNames, tally: Tally
) -> tuple[list[dict[str, Any]], dict[int, int]]:
    """Categories with names as requested, and the id each id becomes."""
    kept: list[dict[str, Any]] = []
    first: dict[str, int] = {}
    count: dict[str, int] = {}
    becomes: dict[int, int] = {}
    taken = {row["name"] for row in rows}
    for row in rows:
        name, identifier = row["name"], row["id"]
        becomes[identifier] = identifier
        if name not in first:
            first[name] = identifier
        elif same_names == "merge":
            becomes[identifier] = first[name]
            tally.note("categories merged with another of their name", f"{identifier} {name}")
            continue
        elif same_names == "apart":
            count[name] = count.get(name, 1) + 1
            while (new := f"{name} ({count[name]})") in taken:
                count[name] += 1
            taken.add(new)
            tally.note("categories renamed to be distinct", f"{identifier} {new}")
            row = {**row, "name": new}
        else:
            tally.note("categories that share a name: --same-names apart|merge", name)
        kept.append(row)
    return kept, becomes


def _repeats(row: dict[str, Any], seen: set[Any], where: str, tally: Tally) -> bool:
    """Whether the very same object was there before."""
    shape = row.get("segmentation") or row["bbox"]
    key = (row["image_id"], row["category_id"], row["iscrowd"], repr(shape))
    if key in seen:
        tally.drop("there twice", where)
        return True
    seen.add(key)
    return False


def _give_ids(rows: list[dict[str, Any]], tally: Tally) -> None:
    """A whole number of its own for each; the first of those that share one keeps it."""
    known = {row["id"] for row in rows if _is_id(row.get("id"))}
    free = max(known, default=0) + 1
    following, used = free if _is_id(free + len(rows)) else min(known) - len(rows), set()
    for row in rows:
        if not _is_id(row.get("id")) or row["id"] in used:
            tally.note("annotations with a new id", f"annotation {row.get('id')} → {following}")
            row["id"], following = following, following + 1
        used.add(row["id"])


def _is_id(given: Any) -> bool:
    """Whether it is an integer of 64 bits, which is what a file of annotations may hold."""
    return type(given) is int and -(2**63) <= given < 2**63
