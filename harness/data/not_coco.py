"""Files that look like COCO's and are not: what they are, and what to give instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

#: Rows that are looked at: files of one kind are alike throughout.
LOOKED_AT = 1000

INSTANCES = "COCO's annotations of boxes and masks are in files called instances_….json"


@dataclass(frozen=True, slots=True)
class Foreign:
    """A file of another format or task."""

    what: str
    """What it is, as the end of "PATH is …"."""
    hint: str
    """What to do."""


def foreign_annotations(content: Any) -> Foreign | None:
    """What parsed JSON is if not annotations of boxes and masks; None where that is not recognized.

    Args:
        content: Any parsed JSON.
    """
    if not isinstance(content, Mapping):
        return None
    rows = _rows(content.get("annotations"))
    images = _rows(content.get("images"))
    for one, found in (
        (_PANOPTIC, any("segments_info" in row for row in rows)),
        (_CAPTIONS, any("caption" in row and "bbox" not in row for row in rows)),
        (_LVIS, any(key in row for row in images for key in _LVIS_KEYS)),
        (_LABELME, "shapes" in content and "imagePath" in content),
        (_PREDICT, any("score" in row and "id" not in row for row in rows)),
    ):
        if found:
            return one
    return None


_LVIS_KEYS = ("neg_category_ids", "not_exhaustive_category_ids")
_PANOPTIC = Foreign("a panoptic file: its annotations are segments of PNG images", INSTANCES)
_CAPTIONS = Foreign("a file of captions: its annotations have no boxes", INSTANCES)
_LVIS = Foreign(
    "an LVIS file: not every object on its images is annotated, so COCO's AP is not its measure",
    "LVIS has an evaluation of its own; nothing here scores or trains on it",
)
_LABELME = Foreign(
    "a file of labelme, of one image", "convert the folder: harness data convert FOLDER"
)
_PREDICT = Foreign(
    "a file of predictions in the form of an annotation file: its annotations have scores",
    "predictions go to --predictions, ground truth to --annotations",
)


def foreign_predictions(content: Any) -> Foreign | None:
    """What parsed JSON is if not a list of COCO results; None where that is not recognized.

    Args:
        content: Any parsed JSON.
    """
    if isinstance(content, Mapping):
        return _foreign_table(content)
    for row in _rows(content):
        for known, found in _ROWS.items():
            if found(row):
                return known
    return None


_RESULTS = (
    'COCO results are a list: [{"image_id": …, "category_id": …, "bbox": [x, y, width, height], '
    '"score": …}, …]'
)
_GROUND_TRUTH = Foreign(
    "an annotation file; COCO results are a list of predictions",
    "ground truth goes to --annotations",
)
_OWN = Foreign(
    "what harness predict writes, with image and category ids of its own; COCO results are a list "
    "of predictions",
    "predictions that can be scored come from: harness eval --annotations FILE --images DIR",
)
_PANOPTIC_RESULTS = Foreign("panoptic predictions; they are not scored here", _RESULTS)

_ROWS: Mapping[Foreign, Callable[[Mapping[str, Any]], bool]] = {
    _PANOPTIC_RESULTS: lambda row: "segments_info" in row,
    Foreign("a list of captions; they are not scored here", _RESULTS): lambda row: (
        "caption" in row and not {"bbox", "segmentation"} & row.keys()
    ),
    Foreign(
        "a list with one entry an image, each with lists of its predictions",
        "write one entry a prediction. " + _RESULTS,
    ): lambda row: bool({"instances", "boxes", "labels", "scores"} & row.keys()),
    Foreign(
        "a list of annotations: they have no scores", "ground truth goes to --annotations"
    ): lambda row: "iscrowd" in row and "score" not in row,
}


def _foreign_table(content: Mapping[str, Any]) -> Foreign:
    rows = _rows(content.get("annotations"))
    if any("segments_info" in row for row in rows):
        return _PANOPTIC_RESULTS
    if any("score" in row for row in rows):
        return _OWN
    if "images" in content or rows:
        return _GROUND_TRUTH
    key = next((key for key in ("predictions", "results", "detections") if key in content), None)
    if key is not None:
        return Foreign(
            f"a table with a list {key!r}; COCO results are that list alone",
            f"write what is under {key!r} to a file of its own. {_RESULTS}",
        )
    return Foreign("a table (dict); COCO results are a list of predictions", _RESULTS)


def _rows(value: Any) -> Sequence[Mapping[str, Any]]:
    """The first rows of a list that are tables; none where it is not a list."""
    if not isinstance(value, list):
        return ()
    return [row for row in islice(value, LOOKED_AT) if isinstance(row, Mapping)]
