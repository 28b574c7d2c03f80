"""Open Images: a table of boxes or of masks, the masks as PNGs, and a table of class names.

Coordinates are shares of the image. A mask may have another resolution than its image; FiftyOne's
reader allows for that, too (voxel51/fiftyone, fiftyone/utils/openimages.py). A box marked
``IsGroupOf`` is a crowd.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import UnidentifiedImageError

from harness.core.errors import IntegrityError, UsageError
from harness.data.convert.geometry import box_outline
from harness.data.convert.source_annotations import UNIT, Drawn, DrawnObject, Tally
from harness.data.image_files import open_image

MASK_COLUMNS = {"MaskPath", "ImageID", "LabelName"}
BOX_COLUMNS = {"ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax"}
DESCRIPTIONS = "*class-descriptions*.csv"

#: Grey from which on a pixel of a mask belongs to its object; the files have black and white.
WHITE = 128

Row = Mapping[str, str]


def read(source: Path, tally: Tally) -> Iterator[Drawn]:
    """A drawing an image of a table, or of the table of masks, else of boxes, in a folder."""
    table = source if source.is_file() else _table_in(source)
    names = descriptions(table.parent)
    if not names:
        tally.note(
            "table without class names beside it: categories are called as in it", str(table)
        )
    rows = rows_by_image(table)
    if columns_of(table) == "masks":
        masks = {path.name: path for path in sorted(table.parent.rglob("*.png"))}
        if not any(row["MaskPath"] in masks for found in rows.values() for row in found):
            raise UsageError(
                f"none of the masks that {table} names is below {table.parent}",
                hint="unpack the mask archives there, or fetch all: harness data openimages",
            )
        yield from drawings(table, rows, names, masks, tally)
    else:
        yield from drawings(table, rows, names, {}, tally)


def columns_of(table: Path) -> Literal["masks", "boxes"] | None:
    """Which of the two tables a CSV file is; None for another one."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            columns = set(next(csv.reader(file), ()))
    except (OSError, UnicodeDecodeError):
        return None
    if columns >= MASK_COLUMNS:
        return "masks"
    return "boxes" if columns >= BOX_COLUMNS else None


def rows_by_image(
    table: Path, labels: Collection[str] | None = None
) -> dict[str, list[dict[str, str]]]:
    """The rows of a table by image id, in the table's order; only of ``labels`` when given."""
    found: dict[str, list[dict[str, str]]] = {}
    with table.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        for row in csv.DictReader(file):
            if labels is None or row["LabelName"] in labels:
                row.pop("Clicks", None)  # most of the table, and nothing that is needed
                found.setdefault(row["ImageID"], []).append(row)
    return found


def descriptions(folder: Path) -> dict[str, str]:
    """Class name by label, such as Panda by /m/03bj1; empty where no such table is."""
    for path in sorted(folder.rglob(DESCRIPTIONS)):
        return read_descriptions(path)
    return {}


def read_descriptions(path: Path) -> dict[str, str]:
    """The same of one file, with or without a line of headings."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = [row for row in csv.reader(file) if len(row) >= 2]
    return {row[0]: row[1] for row in rows if row[0] not in ("LabelName", "Id")}


def labels_of(classes: Sequence[str], names: Mapping[str, str]) -> set[str]:
    """The labels of classes, such as /m/03bj1 of Panda; UsageError for a class there is not."""
    by_name = {name: label for label, name in names.items()}
    unknown = [name for name in classes if name not in by_name]
    if unknown:
        folded = {name.casefold(): name for name in by_name}
        near = [
            folded[one]
            for name in unknown
            for one in difflib.get_close_matches(name.casefold(), folded, n=1)
        ]
        raise UsageError(
            f"Open Images has no class called {', '.join(unknown)}"
            + (f"; did you mean {', '.join(near)}?" if near else ""),
            hint=f"its {len(by_name)} names are those of class-descriptions-boxable.csv",
        )
    return {by_name[name] for name in classes}


def _table_in(folder: Path) -> Path:
    tables = {path: columns_of(path) for path in sorted(folder.rglob("*.csv"))}
    for kind in ("masks", "boxes"):
        found = [path for path, columns in tables.items() if columns == kind]
        if len(found) > 1:
            raise UsageError(
                f"{folder} has several tables of {kind}: {', '.join(one.name for one in found)}",
                hint="name the one to convert",
            )
        if found:
            return found[0]
    raise UsageError(f"{folder} has no table of Open Images")


def drawings(
    table: Path,
    rows: Mapping[str, Sequence[Row]],
    names: Mapping[str, str],
    masks: Mapping[str, Path],
    tally: Tally,
) -> Iterator[Drawn]:
    """A drawing an image. names: as ``descriptions`` gives them. masks: PNG by its name."""
    for image_id, found in rows.items():
        objects = [_object(row, table, names, masks, tally) for row in found]
        yield Drawn(
            where=f"{table}: image {image_id}",
            names=(f"{image_id}.jpg", f"{image_id}.jpeg", f"{image_id}.png"),
            beside=table.parent,
            frame=UNIT,
            size_px=None,
            objects=tuple(one for one in objects if one is not None),
        )


def _object(
    row: Row, table: Path, names: Mapping[str, str], masks: Mapping[str, Path], tally: Tally
) -> DrawnObject | None:
    category = names.get(row["LabelName"], row["LabelName"]) or ""
    if "MaskPath" not in row:
        where = f"{table}: image {row['ImageID']}"
        try:
            sides = [float(row[key]) for key in ("XMin", "YMin", "XMax", "YMax")]
        except (TypeError, ValueError):
            raise IntegrityError(f"{where} has a box that is no four numbers") from None
        crowd = row.get("IsGroupOf") == "1"
        outline = box_outline(*sides)
        return DrawnObject(
            category=category, where=where, outlines=(outline,), is_box=True, crowd=crowd
        )
    where = f"{table}: {row['MaskPath']}"
    path = masks.get(row["MaskPath"])
    if path is None:
        tally.drop("whose mask file is missing", where)
        return None
    mask = _mask(path)
    if mask is None:
        tally.drop("whose mask file cannot be read", where)
        return None
    return DrawnObject(category=category, where=where, mask=mask)


def _mask(path: Path) -> npt.NDArray[np.bool_] | None:
    try:
        with open_image(path) as picture:
            mask: npt.NDArray[np.bool_] = np.asarray(picture.convert("L")) >= WHITE
            return mask
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        return None
