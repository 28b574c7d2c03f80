"""``predictions.json`` of a run: the predictions of all shards, in one order."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.files.atomic import replacing
from harness.files.json import dumps
from harness.workflows.runs.checksums import Line, add_sums


class Merged(NamedTuple):
    """All predictions of a run, sorted by image, then score."""

    rows: list[dict[str, Any]]
    """In COCO's results format."""
    texts: list[bytes]
    """Of each image that has some, a line each."""


def merged_predictions(lines: Sequence[Line], stored: Sequence[bytes] = ()) -> Merged:
    """Return all predictions, and what ``predictions.json`` will have.

    Args:
        lines: Each image once, in any order.
        stored: The bytes that the lines have in shards, as ``read_stored`` returns them; where they
            are given, the text of rows is taken from there, which is the same and takes less time.
    """
    by_image = {line["image_id"]: raw for line, raw in zip(lines, stored, strict=False)}
    rows: list[dict[str, Any]] = []
    texts = []
    for line in sorted(lines, key=lambda line: int(line["image_id"])):
        own, text = _merged(line, by_image.get(line["image_id"], b""))
        if own:
            rows += own
            texts.append(text)
    return Merged(rows, texts)


def write_merged(path: Path, texts: Sequence[bytes]) -> None:
    """Write all predictions in COCO's results format, and their checksum beside them.

    Args:
        path: ``predictions.json`` of a run folder.
        texts: As returned by ``merged_predictions``.
    """
    digest = hashlib.sha256()
    with replacing(path) as temporary:
        with temporary.open("wb") as file:

            def put(piece: bytes) -> None:
                digest.update(piece)
                file.write(piece)

            put(b"[")
            for number, text in enumerate(texts):
                put(_BETWEEN[1:] if number == 0 else _BETWEEN)
                put(text)
            put(b"\n]\n")
        add_sums(path.parent, {path.name: digest.hexdigest()})


def write_predictions(path: Path, lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Write all predictions as ``write_merged`` does.

    Args:
        path: ``predictions.json`` of a run folder.
        lines: Each image once, in any order.

    Returns:
        The predictions as written, sorted by image, then score.
    """
    found = merged_predictions(lines)
    write_merged(path, found.texts)
    return found.rows


def _merged(line: Line, raw: bytes) -> tuple[list[dict[str, Any]], bytes]:
    """Return the predictions of an image, the best first, and their text, one a line."""
    number, predictions = line["image_id"], line["predictions"]
    rows = [{"image_id": number, **one} for one in predictions]
    text = _text_of(rows, predictions, raw)
    scores = [float(one["score"]) for one in predictions]
    if scores != sorted(scores, reverse=True):  # engines give the best first
        order = sorted(range(len(rows)), key=lambda one: -scores[one])
        rows = [rows[one] for one in order]
        if text is not None:  # in which there is no line feed but between rows
            lines = text.split(_BETWEEN)
            text = _BETWEEN.join([lines[one] for one in order])
    return rows, _lines_of(rows).encode() if text is None else text


#: Between two rows of ``predictions.json``.
_BETWEEN = b",\n"

#: Where the text of predictions begins in a line of a shard, and where it ends.
_FIRST_ROW, _AFTER_ROWS = b'"predictions":[{', b'}],"'

#: Where a row of predictions begins in a line, after another one, and in ``predictions.json``.
_NEXT_OWN, _NEXT_ROW = b'},{"category_id":', '},{"image_id":'

#: What a row of a shard has, in this order, and nothing that has objects in a list.
_ROW = ("category_id", "bbox", "score", "segmentation", "keypoints")


def _text_of(
    rows: Sequence[Mapping[str, Any]], predictions: Sequence[Mapping[str, Any]], raw: bytes
) -> bytes | None:
    """Return the text of an image's rows, one a line, made from the line that has them.

    A quotation mark in text has a backslash before it, so what is looked for is never in text.

    Args:
        rows: The predictions with their image.
        predictions: The same, without it: as the line has them.
        raw: The line, as this version wrote it, or nothing.

    Returns:
        The text; None where rows cannot be separated, or are not how they would be written now.
    """
    begin = raw.find(_FIRST_ROW) + len(_FIRST_ROW)
    end = raw.find(_AFTER_ROWS, begin)
    if not predictions or begin < len(_FIRST_ROW) or end < 0:
        return None
    orders = set(map(tuple, predictions))
    if any(tuple(key for key in _ROW if key in keys) != keys for keys in orders):
        return None
    own = raw[begin:end]
    if own.count(_NEXT_OWN) != len(predictions) - 1 or b"\\u" in raw:
        return None
    image = b'{"image_id":%d,' % rows[0]["image_id"]
    text = image + own.replace(_NEXT_OWN, b"}" + _BETWEEN + image + _NEXT_OWN[len(b"},{") :]) + b"}"
    ends = dumps(rows[0]).encode(), dumps(rows[-1]).encode()
    return text if text.startswith(ends[0]) and text.endswith(ends[1]) else None


def _lines_of(rows: list[dict[str, Any]]) -> str:
    """Return the text of some predictions, each on a line of its own.

    To write all of them at once takes a third of the time. Text in a string cannot look like the
    beginning of a row, its quotes are escaped; an object inside of a row can. Text that UTF-8
    cannot hold is escaped, and then all other text beside it.
    """
    whole = dumps(rows)[1:-1]
    if whole.count(_NEXT_ROW) == len(rows) - 1 and "\\u" not in whole:
        return whole.replace(_NEXT_ROW, _NEXT_ROW.replace(",", ",\n"))
    return ",\n".join(map(dumps, rows))
