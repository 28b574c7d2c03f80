"""Predictions as other programs write them, as COCO results, with what was assumed of them.

What each program writes was read in its source:

* Ultralytics, ``models/yolo/detect/val.py``, ``pred_to_json``: COCO rows whose image id is the stem
  of the file name, a number where it is one and text otherwise; a category is the class index
  unless the data set is COCO's own ``val2017.txt``, counted from 0 by older versions and from 1
  by newer ones.
* MMDetection, ``evaluation/metrics/coco_metric.py``, ``results2json``: COCO rows, with a box beside
  each mask. ``evaluation/metrics/dump_det_results.py``, ``DumpDetResults``: a pickle of a list of
  tables with ``img_id`` and ``pred_instances``, which are tensors of corners and class indices, and
  masks as run lengths. MMDetection 2, ``tools/test.py --out``: a pickle of a list, one entry an
  image in the order of the annotation file, with an array of corners and scores for each class;
  with masks, a pair of that and of lists of run lengths.
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

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.core.errors import IntegrityError, UsageError
from harness.core.printable import shown, shown_text
from harness.core.requests.reports import ClassIds
from harness.data.foreign_ids import ClassTable, class_table, images_by_name
from harness.data.shapes import segmentation_fault, whole
from harness.measure.masks import rle_of

Row = dict[str, Any]

#: Keys that users of supervision keep the image under.
IMAGE_KEYS = ("image_id", "file_name", "filename", "image", "image_name", "image_path", "path")

#: Characters of another library's message that are shown.
MESSAGE = 200

#: Columns of a box in MMDetection 2.
CORNERS_AND_SCORE = 5

CORNERS = "boxes are corners, x1, y1, x2, y2"


@dataclass(frozen=True, slots=True)
class Given:
    """What is known beside the file."""

    content: Mapping[str, Any]
    """The annotations."""
    classes: ClassIds
    """What the user says that its classes are."""

    def table(self, usual: ClassIds) -> ClassTable:
        """What is meant by its classes.

        Args:
            usual: What the program writes.
        """
        return class_table(usual if self.classes == "auto" else self.classes, self.content)


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


def adopted(parsed: Any, content: Mapping[str, Any], classes: ClassIds = "auto") -> Adopted | None:
    """The predictions of another program; None where they have no form that is known.

    Args:
        parsed: Content of a JSON file or of a file of torch.
        content: As returned by ``data.coco.read_annotations``.
        classes: What its classes are; ``auto`` for what the program writes.

    Raises:
        UsageError: ``classes`` is given for a form that names its categories.
        IntegrityError: The form is known, and a row does not follow it.
    """
    readers: tuple[tuple[Callable[[Any], bool], Callable[[Any, Given], Adopted]], ...]
    given = Given(content, classes)
    readers = (
        (_is_detectron2, _detectron2),
        (_is_mmdetection, _mmdetection),
        (_is_mmdetection_2, _mmdetection_2),
        (_is_torchvision, _torchvision),
        (_is_supervision, _supervision),
        (_is_fiftyone, _fiftyone),
    )
    for fits, read in readers:
        if fits(parsed):
            try:
                return read(parsed, given)
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


def _detectron2(parsed: Any, given: Given) -> Adopted:
    classes = given.table("index-from-0")
    rows = [
        {**row, "category_id": classes.of(row["category_id"])}
        for image in parsed
        for row in image["instances"]
    ]
    return Adopted(
        program="Detectron2 (instances_predictions.pth)", rows=rows, assumed=(classes.phrase,)
    )


def _is_mmdetection(parsed: Any) -> bool:
    return _is_list(parsed) and all(
        isinstance(one, Mapping) and {"img_id", "pred_instances"} <= one.keys() for one in parsed
    )


def _mmdetection(parsed: Any, given: Given) -> Adopted:
    classes = given.table("index-from-0")
    rows: list[Row] = []
    for image in parsed:
        found = image["pred_instances"]
        table = {
            "boxes": found["bboxes"],
            "labels": [classes.of(label) for label in _plain(found["labels"])],
            "scores": found["scores"],
            **({"masks": found["masks"]} if "masks" in found else {}),
        }
        rows += _of_corners(image["img_id"], table)
    return Adopted(program="MMDetection", rows=rows, assumed=(CORNERS, classes.phrase))


def _is_mmdetection_2(parsed: Any) -> bool:
    """Whether it is an array of corners and scores for each class of each image, and more."""
    if not _is_list(parsed):
        return False
    boxes = parsed[0][0] if isinstance(parsed[0], tuple) and parsed[0] else parsed[0]
    return _is_list(boxes) and all(
        isinstance(one, np.ndarray) and one.ndim == 2 and one.shape[1] == CORNERS_AND_SCORE
        for one in boxes
    )


def _mmdetection_2(parsed: Any, given: Given) -> Adopted:
    images = [one["id"] for one in given.content["images"]]
    if len(parsed) != len(images):
        raise IntegrityError(
            f"it has {len(parsed)} images by their position alone; the annotations have "
            f"{len(images)}",
            hint="give the annotation file that the test was run on",
        )
    classes = given.table("index-from-0")
    rows: list[Row] = []
    for image, found in zip(images, parsed, strict=True):
        by_class, masks = found if isinstance(found, tuple) else (found, None)
        for index, boxes in enumerate(by_class):
            table = {
                "boxes": boxes[:, :4],
                "labels": [classes.of(index)] * len(boxes),
                "scores": boxes[:, 4],
                **({"masks": masks[index]} if masks is not None else {}),
            }
            rows += _of_corners(image, table)
    return Adopted(
        program="MMDetection 2",
        rows=rows,
        assumed=("images are in the order of the annotation file", CORNERS, classes.phrase),
    )


def _is_torchvision(parsed: Any) -> bool:
    return (
        isinstance(parsed, Mapping)
        and len(parsed) > 0
        and all(
            isinstance(one, Mapping) and {"boxes", "labels", "scores"} <= one.keys()
            for one in parsed.values()
        )
    )


def _torchvision(parsed: Any, given: Given) -> Adopted:
    classes = None if given.classes == "auto" else given.table("ids")
    rows: list[Row] = []
    for image, table in parsed.items():
        rows += _of_corners(image, table)
    if classes is not None:
        rows = [{**row, "category_id": classes.of(row["category_id"])} for row in rows]
    labels = "labels are category ids" if classes is None else classes.phrase
    return Adopted(program="torchvision's references", rows=rows, assumed=(CORNERS, labels))


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


def _supervision(parsed: Any, given: Given) -> Adopted:
    key = next((key for key in IMAGE_KEYS if key in parsed[0]), None)
    if key is None:
        raise IntegrityError(
            "the rows of supervision do not say which image they are of",
            hint='write it into each row: sink.append(detections, custom_data={"image_id": …})',
        )
    known = {category["id"] for category in given.content["categories"]}
    listed = all(whole(row["class_id"]) in known for row in parsed)
    classes = given.table("ids" if listed else "index-from-0")
    rows = []
    for row in parsed:
        x1, y1, x2, y2 = (float(row[side]) for side in SIDES)
        rows.append(
            {
                "image_id": row[key],
                "category_id": classes.of(row["class_id"]),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": row["confidence"],
            }
        )
    by_listing = given.classes == "auto" and listed
    meant = "class_id is the category id: all of them are listed" if by_listing else classes.phrase
    return Adopted(program="supervision", rows=rows, assumed=(f"the image is {key!r}", meant))


def _is_fiftyone(parsed: Any) -> bool:
    if not isinstance(parsed, Mapping) or not {"images", "annotations", "categories"} <= {*parsed}:
        return False
    rows = parsed["annotations"]
    return _is_list(rows) and all(
        isinstance(one, Mapping) and {"id", "score"} <= one.keys() for one in rows
    )


def _fiftyone(parsed: Any, given: Given) -> Adopted:
    if given.classes != "auto":
        raise UsageError(
            "--class-ids belongs to files whose categories are numbers; FiftyOne's are found by "
            "name",
            hint="leave it out",
        )
    content = given.content
    images = {one["id"]: one["file_name"] for one in parsed["images"]}
    known = images_by_name(content)
    ids = {one["name"]: one["id"] for one in content["categories"]}
    names = {one["id"]: one["name"] for one in parsed["categories"]}
    sizes = {one["id"]: (one["height"], one["width"]) for one in content["images"]}
    rows = []
    for annotation in parsed["annotations"]:
        file_name, name = images[annotation["image_id"]], names[annotation["category_id"]]
        image = known.of(file_name)
        if image is None or name not in ids:
            what = f"image {shown(file_name)}" if image is None else f"category {shown(name)}"
            raise IntegrityError(
                f"a prediction is of the {what}, which the annotations do not have",
                hint="images are found by their file names, categories by their names",
            )
        row = {"image_id": image, "category_id": ids[name], "score": annotation["score"]}
        row |= {"bbox": annotation["bbox"]} if "bbox" in annotation else {}
        if annotation.get("segmentation"):
            fault = segmentation_fault(annotation["segmentation"], *sizes[image])
            if fault is not None:
                raise IntegrityError(
                    f"the prediction with the id {shown(annotation['id'])} {fault}"
                )
            rle = rle_of(annotation["segmentation"], *sizes[image])
            row["segmentation"] = {"size": list(sizes[image]), "counts": rle.counts}
        rows.append(row)
    return Adopted(
        program="FiftyOne (COCO export)",
        rows=rows,
        assumed=("images are found by file name, categories by name",),
    )


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0


def _plain(values: Any) -> list[Any]:
    """A list of numbers, or of lists of them, of an array or a list."""
    return list(np.asarray(values).tolist())
