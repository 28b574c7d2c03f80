"""What is to be scored, split among children of this process (``measure.children``).

How long C code will run on masks is estimated before it does, by the runs it compares. The IoU of
two masks takes a step for every run of both. Evaluators compare every detection of a category on an
image, the best 100 of them, with every object of it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from harness.core.tasks import TASKS, Task
from harness.measure.children import in_children
from harness.measure.evaluators import (
    Curves,
    OneEvaluator,
    Share,
    curves_of,
    ground_truth,
    numbering_of,
    result_row,
)


def partitioned(
    annotations: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    tasks: Sequence[Task],
    *,
    image_ids: Sequence[int],
    evaluator: OneEvaluator,
    processes: int,
) -> list[list[Share]]:
    """The shares of each process: every category of every task is in one of them.

    No process takes much longer than another.

    Args:
        annotations: As returned by ``data.coco.read_annotations``.
        predictions: Valid COCO results.
        tasks: What is scored.
        image_ids: The images that are scored.
        evaluator: The evaluator to use.
        processes: How many of them at most.
    """
    if not tasks:
        return []
    numbering = numbering_of(annotations)
    owners = owners_of(annotations, predictions, tasks, processes)
    shares: list[list[Share]] = [[] for _ in range(processes)]
    for task in tasks:
        owner = {numbering.categories[one]: number for one, number in owners[task].items()}
        truth = ground_truth(annotations, task, numbering)
        objects = _by_owner(owner, processes, truth["annotations"])
        rows = [result_row(row, task, numbering) for row in predictions]
        found = _by_owner(owner, processes, rows)
        categories = _by_owner(owner, processes, truth["categories"], key="id")
        for number, own in enumerate(shares):
            if categories[number] or number == 0:  # no categories at all are a share, too
                own.append(
                    Share(
                        evaluator=evaluator,
                        task=task,
                        truth={
                            **truth,
                            "annotations": objects[number],
                            "categories": categories[number],
                        },
                        rows=found[number],
                        image_ids=numbering.image_numbers(image_ids),
                    )
                )
    return [own for own in shares if own]


def owners_of(
    annotations: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    tasks: Sequence[Task],
    processes: int,
) -> dict[Task, dict[int, int]]:
    """The process of each category: the costliest first, each to the process that has least.

    Args:
        annotations: As returned by ``data.coco.read_annotations``.
        predictions: Valid COCO results.
        tasks: What is scored.
        processes: How many there are.
    """
    rows = Counter(row["category_id"] for row in (*annotations["annotations"], *predictions))
    ids = [category["id"] for category in annotations["categories"]]
    costs = {(task, one): TASKS[task].cost * rows[one] for task in tasks for one in ids}
    owners: dict[Task, dict[int, int]] = {task: {} for task in tasks}
    for (task, one), number in zip(
        costs, loads_shared(list(costs.values()), processes), strict=True
    ):
        owners[task][one] = number
    return owners


def loads_shared(costs: Sequence[float], carriers: int) -> list[int]:
    """The carrier of each load: the costliest first, each to the carrier that has least.

    Args:
        costs: Costs of each load.
        carriers: How many carriers there are.
    """
    owners = [0] * len(costs)
    loads = [0.0] * carriers
    for number in sorted(range(len(costs)), key=lambda one: -costs[one]):
        owners[number] = loads.index(min(loads))
        loads[owners[number]] += costs[number]
    return owners


def _by_owner(
    owner: Mapping[int, int],
    processes: int,
    rows: Sequence[dict[str, Any]],
    key: str = "category_id",
) -> list[list[dict[str, Any]]]:
    """The rows of each process, in their order.

    Args:
        owner: The process of each category.
        processes: How many there are.
        rows: Annotations, predictions or categories.
        key: The key of a row that is its category.
    """
    found: list[list[dict[str, Any]]] = [[] for _ in range(processes)]
    for row in rows:
        found[owner[row[key]]].append(row)
    return found


def joined_shares(scored: Sequence[tuple[Share, Curves]]) -> dict[Task, Curves]:
    """Join the curves of shares to those of all categories, by task.

    Args:
        scored: Shares with their curves, in any order; each category of a task in one of them.
    """
    return joined_parts([(share.task, share.category_ids, curves) for share, curves in scored])


def joined_parts(scored: Sequence[tuple[Task, Sequence[int], Curves]]) -> dict[Task, Curves]:
    """Join curves of some categories each to those of all categories, by task.

    Args:
        scored: Task, categories in the order of the curves, and curves; each category of a task
            once.
    """
    whole: dict[Task, Curves] = {}
    for task in dict.fromkeys(task for task, _, _ in scored):
        parts = [(own, curves) for name, own, curves in scored if name == task]
        order = np.argsort(np.array([one for own, _ in parts for one in own], dtype=np.int64))
        precision = np.concatenate([curves.precision for _, curves in parts], axis=2)
        recall = np.concatenate([curves.recall for _, curves in parts], axis=1)
        whole[task] = Curves(precision[:, :, order], recall[:, order])
    return whole


def score_shares(of_processes: Sequence[Sequence[Share]]) -> list[tuple[Share, Curves]]:
    """Every share with its curves.

    Args:
        of_processes: The shares of each process. Those of a single one that take little time are
            scored in this process. Others are not: what runs long must leave Ctrl-C and SIGTERM
            working.

    Raises:
        RunFailedError: A process exited without a result. An error that scoring raised is raised
            again unchanged.
    """
    if len(of_processes) == 1 and steps_of(of_processes[0]) <= MOST_STEPS_HERE:
        answers = [curves_of_all(of_processes[0])]
    else:
        answers = in_children(curves_of_all, of_processes)
    return [
        pair
        for shares, curves in zip(of_processes, answers, strict=True)
        for pair in zip(shares, curves, strict=True)
    ]


def curves_of_all(shares: Sequence[Share]) -> list[Curves]:
    """The curves of each of some shares."""
    return [curves_of(share) for share in shares]


T = TypeVar("T")

#: Annotations, predictions, task, image ids.
Asked = tuple[Mapping[str, Any], Sequence[Mapping[str, Any]], Any, tuple[int, ...]]


def in_child_if_long(function: Callable[[Asked], T], asked: Asked) -> T:
    """Call a function, in a child where comparing the masks of one image may take long.

    Args:
        function: Importable by name; compares the predictions of each image with its annotations.
        asked: Annotations, predictions, task and image ids.
    """
    annotations, predictions, task, _ = asked
    if task == "segm" and most_steps(annotations["annotations"], predictions) > MOST_STEPS_HERE:
        return in_children(function, [asked])[0]
    return function(asked)


#: A second or two. What may take longer runs in a child of this process.
MOST_STEPS_HERE = 1e9

#: Detections of a category on an image that are scored (COCOeval's ``maxDets``).
MOST_DETECTIONS = 100

Row = Mapping[str, Any]

#: Image and category.
Cell = tuple[int, int]

K = TypeVar("K", bound=Hashable)


def steps_of(shares: Iterable[Share]) -> float:
    """Steps of all masks of some shares, at most; boxes count as none."""
    return sum(
        sum(cell_steps(share.truth["annotations"], share.rows, MOST_DETECTIONS).values())
        for share in shares
        if share.task == "segm"
    )


def cell_steps(objects: Sequence[Row], rows: Sequence[Row], most: int) -> dict[Cell, float]:
    """Steps at most for each image and category.

    Args:
        objects: Annotations with masks.
        rows: Predictions with masks.
        most: Detections that are compared, of a category on an image.
    """
    return _steps(objects, rows, most, lambda row: (row["image_id"], row["category_id"]))


def _steps(
    objects: Sequence[Row], rows: Sequence[Row], most: int, cell_of: Callable[[Row], K]
) -> dict[K, float]:
    """Steps at most by what rows are compared within."""
    counts: Counter[K] = Counter()
    runs: dict[K, float] = defaultdict(float)
    for row in objects:
        cell = cell_of(row)
        counts[cell] += 1
        runs[cell] += _runs_at_most(row["segmentation"])
    found: Counter[K] = Counter()
    found_runs: dict[K, float] = defaultdict(float)
    for row in rows:
        cell = cell_of(row)
        found[cell] += 1
        found_runs[cell] = max(found_runs[cell], len(row["segmentation"]["counts"]))
    return {
        cell: min(found[cell], most) * (runs[cell] + count * found_runs[cell])
        for cell, count in counts.items()
    }


def most_steps(objects: Sequence[Row], rows: Sequence[Row]) -> float:
    """Steps at most of all detections of an image with all its objects, of the worst image.

    Args:
        objects: Annotations with masks.
        rows: Predictions with masks.
    """
    found = [row for row in rows if row.get("segmentation")]
    there = [row for row in objects if row.get("segmentation")]
    return max(_steps(there, found, len(rows), lambda row: row["image_id"]).values(), default=0.0)


def _runs_at_most(segmentation: Any) -> float:
    """Runs of a mask: a character has at most one, and a polygon two a column that it crosses."""
    if isinstance(segmentation, Mapping):
        return len(segmentation["counts"])
    widths = (max(one[::2]) - min(one[::2]) + 1 for one in segmentation if one)
    return 2 * float(sum(widths))
