"""The line of an image, and its text.

Threads that finish images hold Python's lock while they make these lines, and the thread that gives
a GPU its next batch waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.core.dataset import Category
from harness.core.detections import Detections
from harness.files.json import USUAL, dump_usual, dumps
from harness.workflows.runs.checksums import Line
from harness.workflows.runs.panoptic_files import KEY, panoptic_line


def line_of(
    detections: Detections, categories: Sequence[Category], stuff: Sequence[Category] = ()
) -> Line:
    """Convert one image's detections to a shard line.

    Args:
        detections: Detections of one image, boxes in pixels of the original image.
        categories: By class index.
        stuff: Kinds of stuff, by class of a semantic head from 1.

    Returns:
        The image id, its predictions in COCO's results format, and its map of segments, if any.
    """
    of_objects = [categories[index] for index in detections.class_index.tolist()]
    line = {"image_id": detections.image_id, "predictions": detections.coco_rows(of_objects)}
    if detections.panoptic is not None:
        line[KEY] = panoptic_line(detections.panoptic, categories, stuff)
    return line


def text_of(
    detections: Detections, categories: Sequence[Category], stuff: Sequence[Category], more: Line
) -> bytes:
    """Return the JSON of ``line_of`` with more members: the same bytes as ``dumps`` makes of it.

    Args:
        detections: As in ``line_of``.
        categories: As in ``line_of``.
        stuff: As in ``line_of``.
        more: Added to the line; without floating-point numbers.
    """
    line = {**line_of(detections, categories, stuff), **more}
    usual = detections.keypoints is None and detections.panoptic is None
    if usual and _are_usual(detections):
        return dump_usual(line)
    return dumps(line).encode()


def _are_usual(detections: Detections) -> bool:
    """Whether every number of the line is one that ``dump_usual`` writes as ``dumps`` does."""
    sizes = np.abs(np.concatenate((detections.coco_boxes().ravel(), detections.scores)))
    least, most = USUAL
    return bool(np.all((sizes == 0) | ((sizes >= least) & (sizes < most))))
