"""Open Images: a table of boxes or of masks, the masks as PNGs, and a table of class names.

Coordinates are shares of the image. A mask may have another resolution than its image; FiftyOne's
reader allows for that, too (voxel51/fiftyone, fiftyone/utils/openimages.py). A box marked
``IsGroupOf`` is a crowd.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from harness.core.errors import HarnessError, IntegrityError, UsageError
from harness.core.run_lengths import Rle
from harness.data.convert.alignment import whole_mask
from harness.data.convert.geometry import box_outline
from harness.data.convert.source_annotations import UNIT, SourceAnnotations, SourceObject, Tally
from harness.data.fields import flag_of, number_of
from harness.data.image_files import open_image
from harness.data.own_results import files_below
from harness.data.text_files import csv_rows

MASK_COLUMNS = {"MaskPath", "ImageID", "LabelName"}
BOX_COLUMNS = {"ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax"}
DESCRIPTIONS = "*class-descriptions*.csv"

#: Grey from which on a pixel of a mask belongs to its object; the files have black and white.
WHITE = 128

Row = Mapping[str, str]


def read(source: Path, tally: Tally, *, encoding: str | None = None) -> Iterator[SourceAnnotations]:
    """The annotations of every image of a table, or of the one in a folder: of masks, else boxes.

    Args:
        source: The table, or a folder.
        tally: What is left out is counted here.
        encoding: Encoding of the tables, where that is not certain.

    Raises:
        IntegrityError: The table is none of Open Images, or has a box or flag that is none.
        UsageError: There are several tables, or none of the masks.
    """
    table = source if source.is_file() else _table_in(source)
    names = descriptions(table.parent, encoding=encoding)
    if not names:
        tally.note(
            "table without class names beside it: categories are called as in it", str(table)
        )
    rows = rows_by_image(table, encoding=encoding)
    if columns_of(table) == "masks":
        masks = {path.name: path for path in sorted(files_below(table.parent, "*.png"))}
        named = {_base(row["MaskPath"]) for found in rows.values() for row in found}
        if not named & masks.keys():
            raise UsageError(
                f"none of the masks that {table} names is below {table.parent}",
                hint="unpack the mask archives there, or fetch all: harness data openimages",
            )
        yield from table_annotations(table, rows, names, masks, tally)
    else:
        yield from table_annotations(table, rows, names, {}, tally)


def columns_of(table: Path) -> Literal["masks", "boxes"] | None:
    """Which of the two tables a CSV file is; None for another one."""
    try:
        columns = {one.strip() for one in next(csv_rows(table), [])}
    except HarnessError:
        return None
    if columns >= MASK_COLUMNS:
        return "masks"
    return "boxes" if columns >= BOX_COLUMNS else None


def rows_by_image(
    table: Path, labels: Collection[str] | None = None, *, encoding: str | None = None
) -> dict[str, list[dict[str, str]]]:
    """The rows of a table by image id, in the table's order.

    Args:
        table: The CSV file.
        labels: Only rows of these; None for all.
        encoding: Encoding of the file, where that is not certain.

    Raises:
        IntegrityError: It lacks a column, or a row is shorter than the first.
    """
    found: dict[str, list[dict[str, str]]] = {}
    rows = csv_rows(table, encoding=encoding)
    columns = [one.strip() for one in next(rows, [])]
    if not (set(columns) >= MASK_COLUMNS or set(columns) >= BOX_COLUMNS):
        raise IntegrityError(
            f"{table} is not a table of Open Images: it has the columns {', '.join(columns)[:200]}",
            hint=f"expected {', '.join(sorted(BOX_COLUMNS))}; or {', '.join(sorted(MASK_COLUMNS))}",
        )
    needed = max(columns.index(one) for one in columns if one in MASK_COLUMNS | BOX_COLUMNS)
    for number, values in enumerate(rows, start=2):
        if not values:
            continue
        if len(values) <= needed:
            raise IntegrityError(
                f"{table}: row {number} has {len(values)} of {len(columns)} columns"
            )
        row = dict(zip(columns, values, strict=False))
        if labels is None or row["LabelName"] in labels:
            row.pop("Clicks", None)  # most of the table, and nothing that is needed
            found.setdefault(row["ImageID"], []).append(row)
    return found


def descriptions(folder: Path, *, encoding: str | None = None) -> dict[str, str]:
    """Class name by label, such as Panda by /m/03bj1; empty where no such table is."""
    for path in sorted(files_below(folder, DESCRIPTIONS)):
        return read_descriptions(path, encoding=encoding)
    return {}


def read_descriptions(path: Path, *, encoding: str | None = None) -> dict[str, str]:
    """Class name by label, of one file with or without a line of headings.

    Args:
        path: The CSV file.
        encoding: Encoding of the file, where that is not certain.
    """
    rows = [row for row in csv_rows(path, encoding=encoding) if len(row) >= 2]
    return {row[0]: row[1] for row in rows if row[0] not in ("LabelName", "Id")}


def labels_of(classes: Sequence[str], names: Mapping[str, str]) -> set[str]:
    """The labels of classes, such as /m/03bj1 of Panda.

    Args:
        classes: Names of classes.
        names: As in ``descriptions``.

    Raises:
        UsageError: There is no class of one of the names.
    """
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
    tables = {path: columns_of(path) for path in sorted(files_below(folder, "*.csv"))}
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


def table_annotations(
    table: Path,
    rows: Mapping[str, Sequence[Row]],
    names: Mapping[str, str],
    masks: Mapping[str, Path],
    tally: Tally,
) -> Iterator[SourceAnnotations]:
    """The annotations of every image.

    Args:
        table: The file, for reports.
        rows: By image id, as in ``rows_by_image``.
        names: As in ``descriptions``.
        masks: PNG by its name.
        tally: What is left out is counted here.
    """
    for image_id, found in rows.items():
        objects = [_object(row, table, names, masks, tally) for row in found]
        yield SourceAnnotations(
            where=f"{table}: image {image_id}",
            names=(f"{image_id}.jpg", f"{image_id}.jpeg", f"{image_id}.png"),
            beside=table.parent,
            frame=UNIT,
            size_px=None,
            objects=tuple(one for one in objects if one is not None),
        )


def _object(
    row: Row, table: Path, names: Mapping[str, str], masks: Mapping[str, Path], tally: Tally
) -> SourceObject | None:
    category = names.get(row["LabelName"], row["LabelName"]) or ""
    if "MaskPath" not in row:
        return _box_object(row, category, f"{table}: image {row['ImageID']}", tally)
    where = f"{table}: {row['MaskPath']}"
    path = masks.get(_base(row["MaskPath"]))
    if path is None:
        tally.drop("whose mask file is missing", where)
        return None
    mask = _mask(path)
    if mask is None:
        tally.drop("whose mask file cannot be read", where)
        return None
    return SourceObject(category=category, where=where, mask=mask)


def _box_object(row: Row, category: str, where: str, tally: Tally) -> SourceObject:
    try:
        sides = [number_of(row[key]) for key in ("XMin", "YMin", "XMax", "YMax")]
    except ValueError:
        raise IntegrityError(f"{where} has a box that is not four numbers") from None
    return SourceObject(
        category=category,
        where=where,
        outlines=(box_outline(*sides),),
        is_box=True,
        crowd=_is_group(row.get("IsGroupOf"), where, tally),
    )


def _is_group(value: str | None, where: str, tally: Tally) -> bool:
    """The value of IsGroupOf; -1 is Open Images' own "unknown"."""
    if value is not None and value.strip() in ("-1", "-1.0"):
        tally.note("box(es) of which IsGroupOf is unknown: taken as single objects", where)
        return False
    try:
        return flag_of(value)
    except ValueError as error:
        raise IntegrityError(f"{where}: IsGroupOf {error}") from None


def _base(path: str) -> str:
    """The name of a mask file without its folders."""
    return PurePosixPath(path.replace("\\", "/")).name


def _mask(path: Path) -> Rle | None:
    try:
        with open_image(path) as image:
            return whole_mask(np.asarray(image.convert("L")) >= WHITE)
    except Exception:  # Pillow's many decoders raise anything on damaged bytes
        return None
