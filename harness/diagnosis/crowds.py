"""Crowds of an annotation file that are no longer marked as such."""

from __future__ import annotations

from dataclasses import replace

from harness.diagnosis.case import Case
from harness.diagnosis.places import Undo

#: Crowds are few: 1.2 % of COCO's objects.
MOST_CROWDS = 0.2


def marked(case: Case) -> Undo | None:
    """Objects whose masks are run lengths among polygons as crowds; None where some are marked.

    Args:
        case: Any.
    """
    runs = case.truth.run_lengths["bbox"]
    objects = case.truth.objects["bbox"]
    if objects.crowd.any() or not 0 < runs.mean() <= MOST_CROWDS:
        return None

    def change(given: Case) -> Case:
        truth = given.truth
        changed = {
            task: replace(one, crowd=one.crowd | truth.run_lengths[task])
            for task, one in truth.objects.items()
        }
        return replace(given, truth=replace(truth, objects=changed))

    details = f"{int(runs.sum())} object(s)"
    return Undo(name="crowd-as-object", details=details, change=change)
