"""What a network can be measured in: one entry a task, with its names and the names of its numbers.

Whoever needs to know something of a task asks here; a new task is a new entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

#: What detections of a class are matched with objects by: those that have `TASKS`.
ObjectTask = Literal["bbox", "segm", "keypoints"]

Task = Literal[ObjectTask, "box_proposals", "panoptic_seg"]

#: Regions without a class, which COCO's evaluation does not know: ``harness.measure.proposals``.
PROPOSALS: Literal["box_proposals"] = "box_proposals"

#: Maps in which every pixel is of one segment: ``harness.measure.panoptic``.
PANOPTIC: Literal["panoptic_seg"] = "panoptic_seg"

#: Panoptic, segmentation and recognition quality: of all categories, of things, of stuff. Names of
#: Detectron2's ``COCOPanopticEvaluator``.
PANOPTIC_METRICS = tuple(
    f"{quality}{part}" for part in ("", "_th", "_st") for quality in ("PQ", "SQ", "RQ")
)

#: Classes of pixels by a semantic head alone, of a network that makes maps of segments:
#: ``harness.measure.semantic``. Names of Detectron2's ``SemSegEvaluator``.
SEMANTIC: Literal["sem_seg"] = "sem_seg"
SEMANTIC_METRICS = ("mIoU", "fwIoU", "mACC", "pACC")

#: Recall of the best 1000 and 100 proposals: of all objects, and of small, medium and large ones.
PROPOSAL_METRICS = (
    *("AR@1000", "ARs@1000", "ARm@1000", "ARl@1000"),
    *("AR@100", "ARs@100", "ARm@100", "ARl@100"),
)

#: COCOeval.stats of boxes and masks, in order.
DETECTION_METRICS = (
    "AP",
    "AP50",
    "AP75",
    "APs",
    "APm",
    "APl",
    "AR1",
    "AR10",
    "AR100",
    "ARs",
    "ARm",
    "ARl",
)

#: COCOeval.stats of keypoints, in order: no small objects, 20 detections an image.
KEYPOINT_METRICS = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFacts:
    """One task."""

    noun: str
    """What its numbers are of: ``box``, as in "box AP"."""

    plural: str
    """The same for several."""

    key: str
    """Of a COCO annotation and of a COCO result."""

    metrics: tuple[str, ...]
    """Names of its numbers, in the order of COCOeval's."""

    most_detections: int
    """Detections of an image that count, the last of COCOeval's ``maxDets``."""

    cost: float
    """Time of scoring a prediction, a box's being 1."""


#: By name, in the order of tables. The costs of boxes and masks are measured (0.5 s and 1.4 s for
#: 33,000 predictions); that of keypoints is taken for a box's.
TASKS: Mapping[Task, TaskFacts] = {
    "bbox": TaskFacts(
        noun="box",
        plural="boxes",
        key="bbox",
        metrics=DETECTION_METRICS,
        most_detections=100,
        cost=1.0,
    ),
    "segm": TaskFacts(
        noun="mask",
        plural="masks",
        key="segmentation",
        metrics=DETECTION_METRICS,
        most_detections=100,
        cost=2.8,
    ),
    "keypoints": TaskFacts(
        noun="keypoint",
        plural="keypoints",
        key="keypoints",
        metrics=KEYPOINT_METRICS,
        most_detections=20,
        cost=1.0,
    ),
}


def main_metric(task: Task) -> str:
    """The metric that a task is judged by: ``bbox/AP``."""
    if task == PROPOSALS:
        return f"{PROPOSALS}/{PROPOSAL_METRICS[0]}"
    if task == PANOPTIC:
        return f"{PANOPTIC}/{PANOPTIC_METRICS[0]}"
    return f"{task}/{TASKS[task].metrics[0]}"


#: The main metric of each task, and what people call it.
MAIN_METRICS: Mapping[str, str] = {
    **{main_metric(task): f"{facts.noun} {facts.metrics[0]}" for task, facts in TASKS.items()},
    main_metric(PANOPTIC): PANOPTIC_METRICS[0],
    f"{SEMANTIC}/{SEMANTIC_METRICS[0]}": SEMANTIC_METRICS[0],
    main_metric(PROPOSALS): f"proposal {PROPOSAL_METRICS[0]}",
}


def is_accuracy(metric: str) -> bool:
    """Whether a metric is an accuracy: ``bbox/AP``, not ``fps``."""
    return metric.partition("/")[0] in (*TASKS, PROPOSALS, PANOPTIC, SEMANTIC)


def listed_metrics(tasks: Iterable[Task]) -> list[str]:
    """The metrics that a run lists, with a reference or without: the main ones, in order."""
    found = [main_metric(task) for task in tasks]
    if main_metric(PANOPTIC) in found:
        found += [f"{SEMANTIC}/{name}" for name in SEMANTIC_METRICS]
    return found


def scorable_tasks(row: Mapping[str, Any]) -> tuple[Task, ...]:
    """The tasks that a COCO result can be scored in."""
    return tuple(task for task, facts in TASKS.items() if facts.key in row)


def of_objects(tasks: Iterable[Task]) -> tuple[Task, ...]:
    """The tasks in which single detections are matched with objects, and have an AP."""
    return tuple(task for task in tasks if task in TASKS)


def tasks_measured(metrics: Iterable[str]) -> tuple[Task, ...]:
    """The tasks whose main metric is among some metrics."""
    names = frozenset(metrics)
    return tuple(task for task in TASKS if main_metric(task) in names)


def has_accuracy(metrics: Mapping[str, float | None]) -> bool:
    """Whether a number of an evaluation says how right it is, not only how fast it was.

    None does where the images have no annotations: the predictions are what the run was for.

    Args:
        metrics: As of a record.
    """
    return any(
        value is not None and not name.startswith("throughput/") for name, value in metrics.items()
    )


def are_proposals(metrics: Iterable[str]) -> bool:
    """Whether metrics are those of region proposals, which have no class and no AP."""
    return main_metric(PROPOSALS) in metrics
