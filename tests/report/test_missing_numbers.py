"""Why numbers are missing, in sentences that are true of each task."""

from __future__ import annotations

from harness.core.record import CategoryScore
from harness.report.missing_numbers import absent_lines


def categories(**aps: list[float | None]) -> list[CategoryScore]:
    """A score of each category of each task."""
    return [
        CategoryScore(category_id=number, name=f"kind {number}", task=task, ap=ap)
        for task, several in aps.items()
        for number, ap in enumerate(several)
    ]


METRICS = {"bbox/AP": 50.0, "segm/AP": 50.0}


def test_tasks_that_agree_have_one_sentence() -> None:
    rows = categories(bbox=[1.0, None, 2.0], segm=[1.0, None, 2.0])
    assert absent_lines(METRICS, rows) == [
        "AP is the mean of 2 of 3 categories: the others have no object"
    ]
    assert absent_lines(METRICS, categories(bbox=[1.0, 2.0], segm=[1.0, 2.0])) == []


def test_objects_without_a_mask_are_objects() -> None:
    assert absent_lines(METRICS, categories(bbox=[1.0, None, 2.0], segm=[1.0, None, None])) == [
        "box AP is the mean of 2 of 3 categories: the others have no object",
        "mask AP is the mean of 1 of 3 categories: the others have no object with a mask",
    ]
    assert absent_lines(METRICS, categories(bbox=[1.0, 3.0], segm=[1.0, None])) == [
        "mask AP is the mean of 1 of 2 categories: the others have no object with a mask"
    ]
    assert absent_lines({"segm/AP": 50.0}, categories(segm=[1.0, None])) == [
        "AP is the mean of 1 of 2 categories: the others have no object with a mask"
    ]


def test_maps_say_what_there_was_none_of() -> None:
    none = dict.fromkeys(("panoptic_seg/PQ", "panoptic_seg/PQ_th", "panoptic_seg/PQ_st"))
    assert absent_lines({**none, "sem_seg/mIoU": None}) == [
        "no PQ can be computed: there is no segment that counts, true or found",
        "no IoU of classes of pixels can be computed: no pixel has a class",
    ]
    some = {"panoptic_seg/PQ": 40.0, "panoptic_seg/PQ_th": 40.0, "panoptic_seg/PQ_st": None}
    assert absent_lines({**some, "sem_seg/mIoU": 0.0}) == [
        "PQ of stuff has no number: there is none, true or found"
    ]
