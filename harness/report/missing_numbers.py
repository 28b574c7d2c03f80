"""Why a number could not be computed, in sentences: a dash in a table does not say it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.core.record import CategoryScore
from harness.core.tasks import PANOPTIC, SEMANTIC, TASKS, ObjectTask

#: Ends of the names of metrics of one size, and what they are of.
SIZES = {"s": "small", "m": "medium-sized", "l": "large"}

#: Why a task has no number.
WHY: dict[ObjectTask, str] = {
    "bbox": "there is no object that counts (a crowd region does not)",
    "segm": "no object that counts has a mask",
    "keypoints": "no object that counts has a labelled keypoint",
}

#: What the categories have that are in no mean.
LACKING: dict[ObjectTask, str] = {
    "bbox": "no object",
    "segm": "no object with a mask",
    "keypoints": "no object with a labelled keypoint",
}

#: Numbers of maps, and why there may be none.
MAPS = {
    f"{PANOPTIC}/PQ": "no PQ can be computed: there is no segment that counts, true or found",
    f"{PANOPTIC}/PQ_th": "PQ of things has no number: there is none, true or found",
    f"{PANOPTIC}/PQ_st": "PQ of stuff has no number: there is none, true or found",
    f"{SEMANTIC}/mIoU": "no IoU of classes of pixels can be computed: no pixel has a class",
}


def absent_lines(
    metrics: Mapping[str, float | None], per_category: Sequence[CategoryScore] = ()
) -> list[str]:
    """Return what is missing from the numbers of a run and why; nothing where all are there.

    Args:
        metrics: By name; None where a number could not be computed.
        per_category: AP of each category.
    """
    lines: dict[str, None] = {}
    means: dict[ObjectTask, tuple[int, int]] = {}
    for task in WHY:
        if f"{task}/AP" not in metrics:
            continue
        if metrics[f"{task}/AP"] is None:
            lines[f"no {TASKS[task].noun} AP can be computed: {WHY[task]}"] = None
        else:
            lines.update(dict.fromkeys(_parts(metrics, task)))
            means[task] = _mean_of(per_category, task)
    lines.update(dict.fromkeys(_means(means)))
    empty = [name for name in MAPS if name in metrics and metrics[name] is None]
    if f"{PANOPTIC}/PQ" in empty:
        empty = [name for name in empty if not name.startswith(f"{PANOPTIC}/PQ_")]
    return [*lines, *(MAPS[name] for name in empty)]


def _means(means: Mapping[ObjectTask, tuple[int, int]]) -> Iterator[str]:
    """Yield of how many categories AP is the mean, where these are not all; once where tasks agree.

    Args:
        means: Categories in the mean, and all of them, by task.
    """
    alike = len(means) > 1 and len(set(means.values())) == 1
    for task, (known, every) in means.items():
        if known < every:
            name = "AP" if alike or len(means) == 1 else f"{TASKS[task].noun} AP"
            others = LACKING["bbox" if alike else task]
            yield f"{name} is the mean of {known} of {every} categories: the others have {others}"


def compared_metrics(changes: Sequence[Any]) -> dict[str, float | None]:
    """Return by name a number of either run of a comparison; None where neither has one.

    Args:
        changes: Changes of the metrics, with the attributes ``metric``, ``first`` and ``second``.
    """
    return {one.metric: one.second if one.first is None else one.first for one in changes}


def _parts(metrics: Mapping[str, float | None], task: str) -> Iterator[str]:
    """Yield the sizes of which there is no object."""
    for end, size in SIZES.items():
        name = f"{task}/AP{end}"
        if name in metrics and metrics[name] is None:
            yield f"AP{end} has no number: no object is {size}"


def _mean_of(per_category: Sequence[CategoryScore], task: str) -> tuple[int, int]:
    """Return how many categories AP is the mean of, and how many there are."""
    scores = [row.ap for row in per_category if row.task == task]
    return sum(one is not None for one in scores), len(scores)
