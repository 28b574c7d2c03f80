"""Maps in a run folder: of segments as COCO has them, and counts of a semantic head's pixels.

Segments are ``panoptic.json`` and ``panoptic/NAME.png``; panopticapi reads both as they are. In a
shard an image's map is the PNG itself, so that merging copies bytes. The maps of a semantic head
alone are not kept: what is measured of them are the counts of ``semantic.json``, for each image how
many pixels of each class were found to be which.
"""

from __future__ import annotations

import base64
import hashlib
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.core.dataset import Category, ImageRecord
from harness.core.errors import IntegrityError
from harness.core.panoptic import PanopticMap, category_of_segment
from harness.core.printable import counted, shown
from harness.files.atomic import replacing
from harness.files.json import dumps, read
from harness.measure.semantic import Confusion
from harness.workflows.runs.checksums import Line, add_sums, read_sums, require_undamaged

#: The file of a run, and the folder of its PNGs: as panopticapi looks for them.
PANOPTIC_FILE, PANOPTIC_FOLDER = "panoptic.json", "panoptic"

#: In a shard's line: the PNG in base64, and the segments.
KEY = "panoptic"

#: Bytes of a name, at most: the temporary file beside it adds the names of host and process.
LONGEST_NAME_BYTES = 150


def panoptic_line(
    found: PanopticMap, things: Sequence[Category], stuff: Sequence[Category]
) -> dict[str, Any]:
    """One image's map as a shard's line has it.

    Args:
        found: The map.
        things: Categories by class index.
        stuff: Categories of stuff by class of the semantic head, from 1.
    """
    from harness.data.panoptic import png_of

    return {
        "png": base64.b64encode(png_of(found.ids)).decode("ascii"),
        "segments_info": [
            {
                "id": one.segment_id,
                "category_id": category_of_segment(one, things, stuff).category_id,
                "isthing": one.is_thing,
                **({} if one.score is None else {"score": one.score}),
            }
            for one in found.segments
        ],
    }


def write_panoptic(
    folder: Path,
    lines: Sequence[Line],
    images: Iterable[ImageRecord],
    things: Sequence[Category],
    stuff: Sequence[Category],
) -> str:
    """Write the maps of a run, with their checksums.

    Args:
        folder: The run folder.
        lines: Each image once, in any order.
        images: Images of the data set; a map has the name of its image.
        things: Categories of single objects, which the file lists.
        stuff: The others.

    Returns:
        sha256 of ``panoptic.json``.

    Raises:
        IntegrityError: A line has no map.
    """
    names = map_names(images)
    rows, pictures, sums = [], {}, {}
    for line in sorted(lines, key=lambda one: int(one["image_id"])):
        if KEY not in line:
            raise IntegrityError(f"image {line['image_id']} has no map of segments in its shard")
        name = names[line["image_id"]]
        pictures[name] = base64.b64decode(line[KEY]["png"])
        sums[f"{PANOPTIC_FOLDER}/{name}"] = hashlib.sha256(pictures[name]).hexdigest()
        segments = line[KEY]["segments_info"]
        rows.append({"image_id": line["image_id"], "file_name": name, "segments_info": segments})
    text = "".join(_text(rows, things, stuff)).encode("utf-8")
    digest = hashlib.sha256(text).hexdigest()
    add_sums(folder, sums, below=PANOPTIC_FOLDER)
    add_sums(folder, {PANOPTIC_FILE: digest})
    for name, content in pictures.items():
        path = folder / PANOPTIC_FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    with replacing(folder / PANOPTIC_FILE) as temporary:
        temporary.write_bytes(text)
    return digest


def _text(
    rows: Sequence[dict[str, Any]], things: Sequence[Category], stuff: Sequence[Category]
) -> Iterator[str]:
    """Yield the text of ``panoptic.json``, one image a line."""
    categories = [
        {"id": one.category_id, "name": one.name, "isthing": int(is_thing)}
        for is_thing, part in ((True, things), (False, stuff))
        for one in part
    ]
    yield '{"categories":' + dumps(categories) + ',\n"annotations":['
    yield ",\n".join(["", *map(dumps, rows)])[1:]
    yield "\n]}\n"


def map_names(images: Iterable[ImageRecord]) -> dict[int, str]:
    """Return the name of each image's PNG: the image's own, or its id.

    All have their ids where two would share a name, or where a name is none for a file of a line a
    file: it has line breaks or other characters that cannot be shown, or is too long.
    """
    stems = {
        one.image_id: posixpath.splitext(posixpath.basename(one.file_name))[0] for one in images
    }
    own = len(set(stems.values())) == len(stems) and all(map(_is_name, stems.values()))
    return {number: f"{stem if own else number}.png" for number, stem in stems.items()}


def _is_name(stem: str) -> bool:
    return 0 < len(stem.encode(errors="replace")) <= LONGEST_NAME_BYTES and stem.isprintable()


SEMANTIC_FILE = "semantic.json"

#: In a shard's line: class, found class and pixels, flat.
COUNTS_KEY = "semantic"


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
    lacking = [line["image_id"] for line in lines if COUNTS_KEY not in line]
    if lacking:
        raise IntegrityError(
            f"{counted(len(lacking), 'image has', 'images have')} no counts of semantic classes "
            f"in their shard, the first is image {min(lacking)}: another version wrote it",
            hint="choose another --output, to begin the run again",
        )
    names = dumps(["things", *(one.name for one in stuff)])
    rows = [
        dumps({"image_id": line["image_id"], "truth_found_pixels": line[COUNTS_KEY]})
        for line in sorted(lines, key=lambda one: int(one["image_id"]))
    ]
    images = ",\n".join(rows)
    content = f'{{"classes":{names},\n"images":[\n{images}\n]}}\n'.encode()
    digest = hashlib.sha256(content).hexdigest()
    add_sums(folder, {SEMANTIC_FILE: digest})
    with replacing(folder / SEMANTIC_FILE) as temporary:
        temporary.write_bytes(content)
    return digest


def read_semantic(
    folder: Path, sizes: Mapping[int, tuple[int, int]], stuff: Sequence[Category], repair: str
) -> list[Confusion] | None:
    """Read the counts of images of a run.

    Args:
        folder: The run folder.
        sizes: (height, width) of the images, by id.
        stuff: Kinds of stuff, by class from 1.
        repair: What the user can do about a damaged file.

    Returns:
        In the order of ``sizes``; None for a run of a version that did not count.

    Raises:
        IntegrityError: The file is missing, damaged, of other classes, or lacks an image.
    """
    path, expected = folder / SEMANTIC_FILE, read_sums(folder).get(SEMANTIC_FILE)
    if expected is None and not path.is_file():
        return None
    require_undamaged(path, expected, repair=repair)
    try:
        found = _counts(read(path), sizes, ["things", *(one.name for one in stuff)])
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"{path} does not have the counts of semantic classes of a run: {error}", hint=repair
        ) from error
    lacking = [one for one in sizes if one not in found]
    if lacking:
        raise IntegrityError(
            f"{path} lacks {len(lacking)} of {len(sizes)} images, the first is image {lacking[0]}",
            hint=repair,
        )
    return [found[one] for one in sizes]


def _counts(
    content: Any, sizes: Mapping[int, tuple[int, int]], names: Sequence[str]
) -> dict[int, Confusion]:
    """Return the counts of the images in ``sizes``.

    Raises:
        KeyError, TypeError, ValueError: The content is not what ``write_semantic`` writes.
    """
    if content["classes"] != names:
        raise ValueError("its classes are not those of the panoptic annotations")
    found: dict[int, Confusion] = {}
    for row in content["images"]:
        number = row["image_id"]
        if type(number) is not int or number in found:
            raise ValueError(f"image_id {shown(number)} is not a whole number, or there twice")
        rows = _rows(row["truth_found_pixels"], len(names))
        height, width = sizes.get(number, (0, 0))
        if number in sizes and sum(one[2] for one in rows) > height * width:
            raise ValueError(f"image {number} has fewer pixels than are counted")
        found[number] = rows
    return found


def _rows(flat: Any, count: int) -> Confusion:
    """Return rows of three numbers; ValueError for what cannot be such rows."""
    if (
        not isinstance(flat, list)
        or len(flat) % 3
        or not all(type(one) is int and one >= 0 for one in flat)
    ):
        raise ValueError("not rows of class, found class and pixels")
    rows = [list(flat[place : place + 3]) for place in range(0, len(flat), 3)]
    if any(max(row[:2]) >= count for row in rows):
        raise ValueError("a class that is not listed")
    return rows
