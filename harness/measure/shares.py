"""What is to be scored, dealt out to processes, and what they found, put together again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.measure.evaluators import (
    Curves,
    OneEvaluator,
    Share,
    Task,
    ground_truth,
    result_row,
)

#: How much longer a mask takes than a box: 1.4 s and 0.5 s for 33,000 predictions.
COST: Mapping[Task, float] = {"bbox": 1.0, "segm": 2.8}


def dealt(
    annotations: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    tasks: Sequence[Task],
    image_ids: Sequence[int],
    evaluator: OneEvaluator,
    portions: int,
) -> list[list[Share]]:
    """Every category of every task in one share, in at most ``portions`` portions.

    No portion takes much longer than another.
    """
    owners = _owners(annotations, predictions, tasks, portions)
    shares: list[list[Share]] = [[] for _ in range(portions)]
    for task in tasks:
        owner = owners[task]
        truth = ground_truth(annotations, task)
        objects = _by_owner(owner, portions, truth["annotations"])
        found = _by_owner(owner, portions, [result_row(row, task) for row in predictions])
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
                        image_ids=image_ids,
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
    costs = {(task, one): COST[task] * rows[one] for task in tasks for one in ids}
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
    """The rows of each portion, in their order. owner: of a category."""
    found: list[list[dict[str, Any]]] = [[] for _ in range(portions)]
    for row in rows:
        found[owner[row[key]]].append(row)
    return found


def joined(scored: Sequence[tuple[Share, Curves]]) -> dict[Task, Curves]:
    """The curves of all categories together, by task."""
    whole: dict[Task, Curves] = {}
    for task in dict.fromkeys(share.task for share, _ in scored):
        parts = [(share, curves) for share, curves in scored if share.task == task]
        ids = [one for share, _ in parts for one in share.category_ids]
        order = np.argsort(np.array(ids, dtype=np.int64))
        precision = np.concatenate([curves.precision for _, curves in parts], axis=2)
        recall = np.concatenate([curves.recall for _, curves in parts], axis=1)
        whole[task] = Curves(precision[:, :, order], recall[:, order])
    return whole
