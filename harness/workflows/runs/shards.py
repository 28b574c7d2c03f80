"""Predictions on disk, image by image, so that nothing computed is ever lost.

A shard is a file of JSON lines: first the identity of the run, then one line an image, appended the
moment the image is finished. A process that is killed leaves at most one torn line behind; opening
the shard again cuts it off. Merging the shards gives the same bytes however often the run broke,
and however many shards there are: any shard may hold any image.

Trade-off: a line is handed to the operating system at once, which survives any death of the
process, but forced to the disk only every second: a power cut repeats that second's images.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.dataset import Category
from harness.core.detections import Detections
from harness.core.errors import AnotherRunError, IntegrityError
from harness.files.atomic import replacing
from harness.files.json import differences, dumps
from harness.files.locks import held
from harness.workflows.runs.files import SHARDS

#: A shard line: the image, and its predictions in COCO results format without the image id.
Line = dict[str, Any]

SYNC_PERIOD_S = 1.0


class Shard:
    """An open shard: ``finished`` image ids, and ``append`` for the next one."""

    def __init__(self, file: FileIO, finished: list[int]) -> None:
        self._file = file
        self._synced_s = time.monotonic()
        self.finished = finished

    def append(self, line: Line) -> None:
        """One finished image, safe from the death of this process when this returns."""
        _write(self._file, line)
        self.finished.append(line["image_id"])
        if time.monotonic() - self._synced_s >= SYNC_PERIOD_S:
            os.fsync(self._file.fileno())
            self._synced_s = time.monotonic()


def shard_path(run_folder: Path, number: int) -> Path:
    """Where shard ``number`` of a run is."""
    return run_folder / SHARDS / f"{number:04d}.jsonl"


def shard_paths(run_folder: Path) -> list[Path]:
    """Every shard that has been begun, in order."""
    return sorted((run_folder / SHARDS).glob("*.jsonl"))


@contextmanager
def open_shard(
    path: Path, identity: dict[str, Any], *, notice: Callable[[str], None] = lambda _: None
) -> Iterator[Shard]:
    """The shard at ``path``, new or continued; waits for a process that still writes it.

    Raises AnotherRunError when it, or another shard of the run, was begun by another request,
    checkpoint or data set: ``identity`` says what must be equal. notice: told who is waited for.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with held(path.with_name(f".{path.stem}.lock"), notice=notice):
        for other in path.parent.glob("*.jsonl"):
            header = read_header(other)
            if header is not None:
                _require_same(header, identity, other)
        # Unbuffered: a full disk must be told by the line it cuts off, not when the file is closed.
        with FileIO(path, "a") as file:
            begun, finished, whole_bytes = False, [], 0
            for line, end in _parsed(path):
                whole_bytes = end
                if begun:
                    finished.append(line["image_id"])
                begun = True
            file.truncate(whole_bytes)
            if not begun:
                _write(file, identity)
            yield Shard(file, finished)
            os.fsync(file.fileno())


def read_header(path: Path) -> dict[str, Any] | None:
    """The identity a shard was begun with; None when it was killed before that was written."""
    return next((line for line, _ in _parsed(path)), None)


def new_images(path: Path, position: int) -> tuple[int, int]:
    """How many images a shard got since ``position``, and the position after them.

    position: 0 in the beginning; a torn last line is counted once it is whole.
    """
    if not path.exists():
        return 0, position
    with path.open("rb") as file:
        file.seek(position)
        content = file.read()
    lines = content.count(b"\n")
    end = position + content.rfind(b"\n") + 1
    return lines - (1 if position == 0 and lines else 0), end


def finished_images(paths: Sequence[Path]) -> set[int]:
    """Ids of the images that several shards have together."""
    return {line["image_id"] for path in paths for line, _ in islice(_parsed(path), 1, None)}


def read_lines(paths: Sequence[Path]) -> list[Line]:
    """The lines of all images in several finished shards."""
    return [line for path in paths for line, _ in islice(_parsed(path), 1, None)]


def write_predictions(path: Path, lines: Sequence[Line]) -> list[dict[str, Any]]:
    """All predictions in COCO results format, sorted by image, then score; written and returned."""
    rows = [
        {"image_id": line["image_id"], **prediction}
        for line in sorted(lines, key=lambda line: int(line["image_id"]))
        for prediction in sorted(line["predictions"], key=lambda row: -float(row["score"]))
    ]
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write("[")
        for number, row in enumerate(rows):
            file.write(("\n" if number == 0 else ",\n") + dumps(row))
        file.write("\n]\n")
    return rows


def line_of(detections: Detections, categories: Sequence[Category]) -> Line:
    """One image's detections as a shard line; boxes as x, y, width, height in px.

    Width and height are subtracted in float32, as Detectron2's ``BoxMode.convert`` does.
    """
    boxes_xywh_px = detections.boxes_xyxy_px.copy()
    boxes_xywh_px[:, 2:] -= boxes_xywh_px[:, :2]
    predictions = []
    for row, score in enumerate(_shortest(detections.scores)):
        prediction = {
            "category_id": categories[int(detections.class_index[row])].category_id,
            "bbox": _shortest(boxes_xywh_px[row]),
            "score": score,
        }
        if detections.masks is not None:
            mask = detections.masks[row]
            prediction["segmentation"] = {
                "size": [mask.height_px, mask.width_px],
                "counts": mask.counts,
            }
        predictions.append(prediction)
    return {"image_id": detections.image_id, "predictions": predictions}


def _shortest(values: npt.NDArray[np.float32]) -> list[float]:
    """Numbers that print with the fewest digits that still give back the same float32."""
    return [float(str(value)) for value in values.astype(np.float32, copy=False)]


def _write(file: FileIO, line: Line) -> None:
    content = memoryview((dumps(line) + "\n").encode("utf-8"))
    while content:
        content = content[file.write(content) :]


def _parsed(path: Path) -> Iterator[tuple[Line, int]]:
    """Every whole line with the offset of its end; a torn last line is left out."""
    end = 0
    with path.open("rb") as file:
        for raw in file:
            if not raw.endswith(b"\n"):
                return
            end += len(raw)
            try:
                line = json.loads(raw)
            except ValueError as error:
                raise IntegrityError(
                    f"{path} is damaged before byte {end}: {error}",
                    hint="delete it and evaluate again",
                ) from error
            yield line, end


def _require_same(found: dict[str, Any], expected: dict[str, Any], path: Path) -> None:
    differing = differences(found, expected)
    if differing:
        raise AnotherRunError(
            f"{path} belongs to another run:\n  " + "\n  ".join(differing),
            hint="ask for the same as it, or choose another --output",
        )
