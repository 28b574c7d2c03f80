"""What is to be scored, split among processes, and joined again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.core.tasks import TASKS, Task
from harness.measure.children import MOST_STEPS_HERE, in_children, steps_of
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
    image_ids: Sequence[int],
    evaluator: OneEvaluator,
    portions: int,
) -> list[list[Share]]:
    """Every category of every task in one share; no portion takes much longer than another.

    Args:
        annotations: Of ``data.coco.read_annotations``.
        predictions: Valid COCO results.
        tasks: What is scored.
        image_ids: The images that are scored.
        evaluator: The evaluator to use.
        portions: How many lists of shares to make at most.
    """
    numbering = numbering_of(annotations)
    owners = _owners(annotations, predictions, tasks, portions)
    shares: list[list[Share]] = [[] for _ in range(portions)]
    for task in tasks:
        owner = {numbering.categories[one]: number for one, number in owners[task].items()}
        truth = ground_truth(annotations, task, numbering)
        objects = _by_owner(owner, portions, truth["annotations"])
        rows = [result_row(row, task, numbering) for row in predictions]
        found = _by_owner(owner, portions, rows)
        categories = _by_owner(owner, portions, truth["categories"], key="id")
        for number, portion in enumerate(shares):
            if categories[number] or number == 0:  # no categories at all are a share, too
                portion.append(
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
    return [portion for portion in shares if portion]


def _owners(
    annotations: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    tasks: Sequence[Task],
    portions: int,
) -> dict[Task, dict[int, int]]:
    """The portion of each category: the costliest first, each to the portion that has least."""
    rows = Counter(row["category_id"] for row in (*annotations["annotations"], *predictions))
    ids = [category["id"] for category in annotations["categories"]]
    costs = {(task, one): TASKS[task].cost * rows[one] for task in tasks for one in ids}
    owners: dict[Task, dict[int, int]] = {task: {} for task in tasks}
    loads = [0.0] * portions
    for task, one in sorted(costs, key=lambda unit: -costs[unit]):
        owners[task][one] = loads.index(min(loads))
        loads[owners[task][one]] += costs[task, one]
    return owners


def _by_owner(
    owner: Mapping[int, int],
    portions: int,
    rows: Sequence[dict[str, Any]],
    key: str = "category_id",
) -> list[list[dict[str, Any]]]:
    """The rows of each portion, in their order.

    Args:
        owner: The portion of each category.
        portions: How many there are.
        rows: Annotations, predictions or categories.
        key: The key of a row that is its category.
    """
    found: list[list[dict[str, Any]]] = [[] for _ in range(portions)]
    for row in rows:
        found[owner[row[key]]].append(row)
    return found


def joined(scored: Sequence[tuple[Share, Curves]]) -> dict[Task, Curves]:
    """The curves of all categories together, by task.

    Args:
        scored: Shares with their curves, in any order; each category of a task in one of them.
    """
    whole: dict[Task, Curves] = {}
    for task in dict.fromkeys(share.task for share, _ in scored):
        parts = [(share, curves) for share, curves in scored if share.task == task]
        ids = [one for share, _ in parts for one in share.category_ids]
        order = np.argsort(np.array(ids, dtype=np.int64))
        precision = np.concatenate([curves.precision for _, curves in parts], axis=2)
        recall = np.concatenate([curves.recall for _, curves in parts], axis=1)
        whole[task] = Curves(precision[:, :, order], recall[:, order])
    return whole


def score_shares(portions: Sequence[Sequence[Share]]) -> list[tuple[Share, Curves]]:
    """Every share with its curves.

    Args:
        portions: Shares for a process each. A single portion that takes little time is scored in
            this process. The others are not: what runs long must leave Ctrl-C and SIGTERM working.

    Raises:
        RunFailedError: A process exited without a result. An error that scoring raised is raised
            again unchanged.
    """
    if len(portions) == 1 and steps_of(portions[0]) <= MOST_STEPS_HERE:
        answers = [curves_of_all(portions[0])]
    else:
        answers = in_children(curves_of_all, portions)
    return [
        pair
        for portion, curves in zip(portions, answers, strict=True)
        for pair in zip(portion, curves, strict=True)
    ]


def curves_of_all(portion: Sequence[Share]) -> list[Curves]:
    """The curves of each share of a portion."""
    return [curves_of(share) for share in portion]
