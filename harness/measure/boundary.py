"""Boundary AP of masks, by faster-coco-eval: a second opinion that no verdict uses.

IoU is of the parts of two masks that are near their outlines ("Boundary IoU: Improving
Object-Centric Image Segmentation Evaluation", Cheng et al., 2021, with its distance of 2 % of the
image's diagonal). AP of masks hardly sees the outline of large objects; this does.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

from harness.core.tasks import DETECTION_METRICS
from harness.measure.evaluators import ground_truth, numbering_of, result_row


def boundary_metrics(
    annotations: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    image_ids: Sequence[int],
) -> dict[str, float | None]:
    """``boundary/AP`` … ``boundary/ARl``, 0-100; None where there is no such ground truth.

    Args:
        annotations: Of ``data.coco.read_annotations``.
        predictions: Valid COCO results with masks; those of other images are left out.
        image_ids: The images that count.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    wanted = frozenset(image_ids)
    numbering = numbering_of(annotations)
    rows = [result_row(row, "segm", numbering) for row in predictions if row["image_id"] in wanted]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = ground_truth(annotations, "segm", numbering)
        truth.createIndex()
        if not rows:
            return {f"boundary/{name}": None for name in DETECTION_METRICS}
        evaluation = COCOeval_faster(truth, truth.loadRes(rows), "boundary")
        evaluation.params.imgIds = sorted(numbering.image_numbers(image_ids))
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    values = [float(value) for value in evaluation.stats[: len(DETECTION_METRICS)]]
    return {
        f"boundary/{name}": None if value < 0 else 100 * value
        for name, value in zip(DETECTION_METRICS, values, strict=True)
    }
