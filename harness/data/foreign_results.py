"""Predictions as other programs write them, as COCO results, with what was assumed of them.

What each program writes was read in its source:

* Ultralytics, ``models/yolo/detect/val.py``, ``pred_to_json``: COCO rows whose image id is the stem
  of the file name, a number where it is one and text otherwise; a category is the class index
  unless the data set is COCO's own ``val2017.txt``, counted from 0 by older versions and from 1
  by newer ones.
* MMDetection, ``evaluation/metrics/coco_metric.py``, ``results2json``: COCO rows, with a box beside
  each mask. ``evaluation/metrics/dump_det_results.py``, ``DumpDetResults``: a pickle of a list of
  tables with ``img_id`` and ``pred_instances``, which are tensors of corners and class indices, and
  masks as run lengths.
* torchvision, ``references/detection/coco_eval.py``: a table from image id to ``boxes`` as corners,
  ``labels`` that are category ids, ``scores`` and perhaps ``masks``.
* supervision, ``detection/tools/json_sink.py``, which RF-DETR's detections go through: rows of
  ``x_min`` … ``y_max``, ``class_id`` and ``confidence``, and what the user adds to tell images.
* Detectron2, ``evaluation/coco_evaluation.py``: ``instances_predictions.pth`` has a list of rows
  for each image, written before class indices become category ids.
* FiftyOne, ``utils/coco.py``, ``COCODetectionDatasetExporter``: an annotation file with ids of its
  own, where ``score`` is the confidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from harness.core.errors import IntegrityError
from harness.core.printable import shown, shown_text
from harness.data.shapes import segmentation_fault, whole
from harness.measure.masks import rle_of

Row = dict[str, Any]

#: Keys that users of supervision keep the image under.
IMAGE_KEYS = ("image_id", "file_name", "filename", "image", "image_name", "image_path", "path")

#: Characters of another library's message that are shown.
MESSAGE = 200

CORNERS = "boxes are corners, x1, y1, x2, y2"
CLASS_INDICES = "categories are class indices, from 0 in the order of the category ids"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """Predictions of another program."""

    program: str
    """Which one it looks like."""
    rows: list[Row]
    """COCO results; image ids may still be text."""
    assumed: tuple[str, ...]
    """What was taken for granted, one phrase each."""

    @property
    def sentence(self) -> str:
        """All of it in one sentence."""
        assumed = "; ".join(self.assumed)
        return f"read as predictions of {self.program}" + (f": {assumed}" if assumed else "")


def adopted(parsed: Any, content: Mapping[str, Any]) -> Adopted | None:
    """The predictions of another program; None where they have no form that is known.

    Args:
        parsed: Of JSON or of a file of torch.
        content: Of ``data.coco.read_annotations``.

    Raises:
        IntegrityError: The form is known, and a row does not follow it.
    """
    readers: tuple[tuple[Callable[[Any], bool], Callable[[Any, Mapping[str, Any]], Adopted]], ...]
    readers = (
        (_is_detectron2, _detectron2),
        (_is_mmdetection, _mmdetection),
        (_is_torchvision, _torchvision),
        (_is_supervision, _supervision),
        (_is_fiftyone, _fiftyone),
    )
    for fits, read in readers:
        if fits(parsed):
            try:
                return read(parsed, content)
            except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
                raise IntegrityError(
                    f"a row does not follow the form of {read.__name__.strip('_')}: "
                    f"{type(error).__name__}: {shown_text(str(error), MESSAGE)}"
                ) from error
    return None


def _is_detectron2(parsed: Any) -> bool:
    return _is_list(parsed) and all(
        isinstance(one, Mapping) and {"image_id", "instances"} <= one.keys() for one in parsed
    )


def _detectron2(parsed: Any, content: Mapping[str, Any]) -> Adopted:
    ids = _category_ids(content)
    rows = [
        {**row, "category_id": _chosen(ids, row["category_id"])}
        for image in parsed
        for row in image["instances"]
    ]
    return Adopted(
        program="Detectron2 (instances_predictions.pth)", rows=rows, assumed=(CLASS_INDICES,)
    )


def _is_mmdetection(parsed: Any) -> bool:
    return _is_list(parsed) and all(
        isinstance(one, Mapping) and {"img_id", "pred_instances"} <= one.keys() for one in parsed
    )


def _mmdetection(parsed: Any, content: Mapping[str, Any]) -> Adopted:
    ids = _category_ids(content)
    rows: list[Row] = []
    for image in parsed:
        found = image["pred_instances"]
        table = {
            "boxes": found["bboxes"],
            "labels": [_chosen(ids, label) for label in _plain(found["labels"])],
            "scores": found["scores"],
            **({"masks": found["masks"]} if "masks" in found else {}),
        }
        rows += _of_corners(image["img_id"], table)
    return Adopted(program="MMDetection", rows=rows, assumed=(CORNERS, CLASS_INDICES))


def _is_torchvision(parsed: Any) -> bool:
    return (
        isinstance(parsed, Mapping)
        and len(parsed) > 0
        and all(
            isinstance(one, Mapping) and {"boxes", "labels", "scores"} <= one.keys()
            for one in parsed.values()
        )
    )


def _torchvision(parsed: Any, _: Mapping[str, Any]) -> Adopted:
    rows: list[Row] = []
    for image, table in parsed.items():
        rows += _of_corners(image, table)
    return Adopted(
        program="torchvision's references", rows=rows, assumed=(CORNERS, "labels are category ids")
    )


def _of_corners(image: Any, table: Mapping[str, Any]) -> Iterator[Row]:
    """The rows of an image from parallel lists."""
    boxes, labels, scores = (_plain(table[key]) for key in ("boxes", "labels", "scores"))
    masks: Any = table.get("masks")
    for position, (box, label, score) in enumerate(zip(boxes, labels, scores, strict=True)):
        x1, y1, x2, y2 = box
        row = {"image_id": image, "category_id": label, "bbox": [x1, y1, x2 - x1, y2 - y1]}
        row["score"] = score
        if masks is not None:
            row["segmentation"] = _mask(masks[position])
        yield row


def _mask(mask: Any) -> Any:
    """A mask as run lengths; of probabilities, what is above one half."""
    from harness.measure.masks import encode_region

    if isinstance(mask, Mapping):
        counts = mask["counts"]
        text = counts.decode("ascii") if isinstance(counts, bytes) else counts
        return {"size": list(mask["size"]), "counts": text}
    pixels = np.asarray(mask)
    pixels = pixels.reshape(pixels.shape[-2:]) > 0.5
    height, width = pixels.shape
    rle = encode_region(pixels, top_px=0, left_px=0, height_px=height, width_px=width)
    return {"size": [height, width], "counts": rle.counts}


SIDES = ("x_min", "y_min", "x_max", "y_max")


def _is_supervision(parsed: Any) -> bool:
    return _is_list(parsed) and all(
        isinstance(one, Mapping) and {*SIDES, "class_id", "confidence"} <= one.keys()
        for one in parsed
    )


def _supervision(parsed: Any, content: Mapping[str, Any]) -> Adopted:
    key = next((key for key in IMAGE_KEYS if key in parsed[0]), None)
    if key is None:
        raise IntegrityError(
            "the rows of supervision do not say which image they are of",
            hint='write it into each row: sink.append(detections, custom_data={"image_id": …})',
        )
    ids = _category_ids(content)
    classes = [whole(row["class_id"]) for row in parsed]
    known = set(ids)
    indices = any(one not in known for one in classes)
    rows = []
    for row, one in zip(parsed, classes, strict=True):
        x1, y1, x2, y2 = (float(row[side]) for side in SIDES)
        rows.append(
            {
                "image_id": row[key],
                "category_id": _chosen(ids, one) if indices else one,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": row["confidence"],
            }
        )
    meant = CLASS_INDICES if indices else "class_id is the category id: all of them are listed"
    return Adopted(program="supervision", rows=rows, assumed=(f"the image is {key!r}", meant))


def _is_fiftyone(parsed: Any) -> bool:
    if not isinstance(parsed, Mapping) or not {"images", "annotations", "categories"} <= {*parsed}:
        return False
    rows = parsed["annotations"]
    return _is_list(rows) and all(
        isinstance(one, Mapping) and {"id", "score"} <= one.keys() for one in rows
    )


def _fiftyone(parsed: Any, content: Mapping[str, Any]) -> Adopted:
    images = {one["id"]: one["file_name"] for one in parsed["images"]}
    known = _images_by_name(content)
    ids = {one["name"]: one["id"] for one in content["categories"]}
    names = {one["id"]: one["name"] for one in parsed["categories"]}
    sizes = {one["id"]: (one["height"], one["width"]) for one in content["images"]}
    rows = []
    for given in parsed["annotations"]:
        file_name, name = images[given["image_id"]], names[given["category_id"]]
        image = known.get(PurePosixPath(file_name.replace("\\", "/")).name)
        if image is None or name not in ids:
            what = f"image {shown(file_name)}" if image is None else f"category {shown(name)}"
            raise IntegrityError(
                f"a prediction is of the {what}, which the annotations do not have",
                hint="images are found by their file names, categories by their names",
            )
        row = {"image_id": image, "category_id": ids[name], "score": given["score"]}
        row |= {"bbox": given["bbox"]} if "bbox" in given else {}
        if given.get("segmentation"):
            fault = segmentation_fault(given["segmentation"], *sizes[image])
            if fault is not None:
                raise IntegrityError(f"the prediction with the id {shown(given['id'])} {fault}")
            rle = rle_of(given["segmentation"], *sizes[image])
            row["segmentation"] = {"size": list(sizes[image]), "counts": rle.counts}
        rows.append(row)
    return Adopted(
        program="FiftyOne (COCO export)",
        rows=rows,
        assumed=("images are found by file name, categories by name",),
    )


def with_image_ids(
    rows: Sequence[Any], content: Mapping[str, Any], *, numbers: bool
) -> tuple[list[Any], int]:
    """Rows with image ids in the place of file names and their stems.

    Args:
        rows: Rows of any kind; what names no known image stays as it is.
        content: Of ``data.coco.read_annotations``.
        numbers: Whether text may also be the number of an id.

    Returns:
        The rows, and how many were changed.
    """
    names = _images_by_name(content)
    ids = {image["id"] for image in content["images"]}
    result, changed = [], 0
    for row in rows:
        image = row.get("image_id") if isinstance(row, Mapping) else None
        if isinstance(image, str):
            name = PurePosixPath(image.replace("\\", "/")).name
            is_number = image.strip().isdecimal()
            number = int(image) if is_number and len(image) < 20 else None
            found = number if number in ids else names.get(name)
            if is_number and not numbers:
                found = None
            if found is not None:
                row, changed = {**row, "image_id": found}, changed + 1
        result.append(row)
    return result, changed


def with_category_ids(
    rows: Sequence[Any], content: Mapping[str, Any]
) -> tuple[list[Any], int] | None:
    """Rows with category ids in the place of class indices; None where that is not certain.

    Args:
        rows: COCO results of Ultralytics.
        content: Of ``data.coco.read_annotations``.

    Returns:
        The rows, and what the first class is counted as: 0 where a row has it, 1 where a row has
        the number of categories, which then is the last one.
    """
    ids = _category_ids(content)
    known = set(ids)
    given = {
        whole(row["category_id"])
        for row in rows
        if isinstance(row, Mapping) and "category_id" in row
    }
    if not given or given <= known:
        return None
    first = 0 if 0 in given else 1
    certain = 0 in given or len(ids) in given
    if not certain or not all(one in range(first, first + len(ids)) for one in given):
        return None
    return [{**row, "category_id": ids[int(row["category_id"]) - first]} for row in rows], first


def _images_by_name(content: Mapping[str, Any]) -> dict[str, int]:
    """Image ids by the last part of the file name, with its ending and without."""
    found: dict[str, int] = {}
    for image in content["images"]:
        path = PurePosixPath(image["file_name"].replace("\\", "/"))
        found.setdefault(path.name, image["id"])
        found.setdefault(path.stem, image["id"])
    return found


def _category_ids(content: Mapping[str, Any]) -> list[int]:
    return sorted(category["id"] for category in content["categories"])


def _chosen(ids: Sequence[int], index: Any) -> int:
    position = whole(index)
    if position is None or not 0 <= position < len(ids):
        raise IntegrityError(
            f"a prediction has the class index {shown(index)}; there are {len(ids)} categories"
        )
    return ids[position]


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0


def _plain(values: Any) -> list[Any]:
    """A list of numbers, or of lists of them, of an array or a list."""
    return list(np.asarray(values).tolist())
