"""Predictions on disk, image by image, so that nothing computed is ever lost.

A shard is a file of JSON lines: first the identity of the run, then one line an image, appended the
moment the image is finished. A process that is killed leaves at most one torn line behind; opening
the shard again cuts it off. Merging the shards gives the same bytes however often the run broke.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from harness.core.dataset import Category
from harness.core.detections import Detections
from harness.core.errors import IntegrityError, RunFailedError, UsageError
from harness.files.atomic import replacing, unwritable
from harness.files.json import dumps

#: A shard line: the image, and its predictions in COCO results format without the image id.
Line = dict[str, Any]


class Shard:
    """An open shard: ``finished`` image ids, and ``append`` for the next one."""

    def __init__(self, file: TextIO, path: Path, finished: list[int]) -> None:
        self._file = file
        self._path = path
        self.finished = finished

    def append(self, line: Line) -> None:
        """One finished image, handed to the operating system before this returns."""
        try:
            self._file.write(dumps(line) + "\n")
            self._file.flush()
        except OSError as error:
            raise RunFailedError(
                f"cannot append to {self._path}: {error.strerror}",
                hint="free some space and continue with --resume; finished images are kept",
            ) from error
        self.finished.append(line["image_id"])


@contextmanager
def open_shard(path: Path, identity: dict[str, Any]) -> Iterator[Shard]:
    """The shard at ``path``, new or continued, held by this process alone.

    Raises IntegrityError when it was begun by another request, checkpoint or data set (``identity``
    says what must be equal), UsageError when another process has it open or it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise unwritable(path, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"another process is writing {path}", hint="wait for it, or choose another --output"
            ) from None
        lines = _whole_lines(file, path)
        if lines:
            _require_same(lines[0], identity, path)
        else:
            file.write(dumps(identity) + "\n")
            file.flush()
        yield Shard(file, path, [line["image_id"] for line in lines[1:]])
        os.fsync(file.fileno())


def read_lines(paths: Sequence[Path]) -> list[Line]:
    """The lines of all images in several finished shards."""
    lines: list[Line] = []
    for path in paths:
        with path.open("r+", encoding="utf-8") as file:
            lines += _whole_lines(file, path)[1:]
    return lines


def write_predictions(path: Path, lines: Sequence[Line]) -> list[dict[str, Any]]:
    """All predictions in COCO results format, sorted by image, then score; written and returned."""
    rows = [
        {"image_id": line["image_id"], **prediction}
        for line in sorted(lines, key=lambda line: int(line["image_id"]))
        for prediction in sorted(line["predictions"], key=lambda row: -float(row["score"]))
    ]
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(dumps(row) for row in rows) + "\n]\n")
    return rows


def line_of(detections: Detections, categories: Sequence[Category]) -> Line:
    """One image's detections as a shard line; boxes as x, y, width, height in px."""
    boxes = detections.boxes_xyxy_px.astype("float64")
    predictions = []
    for row in range(len(detections)):
        x1, y1, x2, y2 = boxes[row].tolist()
        prediction = {
            "category_id": categories[int(detections.class_index[row])].category_id,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": float(detections.scores[row]),
        }
        if detections.masks is not None:
            mask = detections.masks[row]
            prediction["segmentation"] = {
                "size": [mask.height_px, mask.width_px],
                "counts": mask.counts,
            }
        predictions.append(prediction)
    return {"image_id": detections.image_id, "predictions": predictions}


def _whole_lines(file: TextIO, path: Path) -> list[Line]:
    """The parsed lines of an open shard; a torn last line is cut off the file."""
    import json

    file.seek(0)
    content = file.read()
    whole = content[: content.rfind("\n") + 1]
    if len(whole) != len(content):
        file.seek(0)
        file.truncate(len(whole.encode("utf-8")))
    file.seek(0, os.SEEK_END)
    try:
        return [json.loads(line) for line in whole.splitlines()]
    except json.JSONDecodeError as error:
        raise IntegrityError(
            f"{path} is damaged in the middle: {error}",
            hint="delete it and evaluate again",
        ) from error


def _require_same(found: dict[str, Any], expected: dict[str, Any], path: Path) -> None:
    differing = [
        f"{key}: {found.get(key)!r} there, {expected.get(key)!r} now"
        for key in sorted(found.keys() | expected.keys())
        if found.get(key) != expected.get(key)
    ]
    if differing:
        raise IntegrityError(
            f"{path} belongs to another run:\n  " + "\n  ".join(differing),
            hint="choose another --output",
        )
