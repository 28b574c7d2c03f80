"""A finished training as tables: AP and losses before and after, and the categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.core.tasks import TASKS

#: What is shown, and what people call it.
NAMES = {
    f"{task}/{metric}": f"{facts.noun} {metric}"
    for task, facts in TASKS.items()
    for metric in ("AP", "AP50")
}


def score_rows(summary: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows of AP and losses: before, with the best and the last weights, test.

    Args:
        summary: ``TrainingSummary`` as a record keeps it.
    """
    columns: dict[str, Mapping[str, float | None]] = {}
    if summary["before"] is not None:
        columns["before"] = summary["before"]
    columns[f"best (iteration {summary['best_iteration']:,})"] = summary["best"]
    columns[f"last (iteration {summary['last_iteration']:,})"] = summary["last"]
    if summary["test"] is not None:
        columns["best, on the test data"] = summary["test"]
    rows = [
        [NAMES[metric], *(_number(column.get(metric), 2) for column in columns.values())]
        for metric in NAMES
        if any(metric in column for column in columns.values())
    ]
    rows += _loss_rows(summary, len(columns))
    return ["", *columns], rows


def _loss_rows(summary: Mapping[str, Any], width: int) -> list[list[str]]:
    """Return a row for each kind of loss, under the weights that it was measured with."""
    before = summary["before"] is not None
    rows = []
    for name, key in (
        ("training loss", "train_loss"),
        ("validation loss", "validation_loss"),
        ("test loss", "test_loss"),
    ):
        if summary[key] is None:
            continue
        first, last = (_number(value, 3) for value in summary[key])
        if key == "train_loss":
            # The first lines of the log belong to the weights before; the best has none of its own.
            cells = [first, "", last] if before else [f"{first} at first", last]
        else:
            cells = ["", first, last] if before else [first, last]
        rows.append([name, *cells, *[""] * (width - len(cells))])
    return rows


def category_rows(
    scores: Sequence[Mapping[str, Any]], object_counts: Mapping[str, int]
) -> list[list[str]]:
    """Return id, name, objects that were learned, and the AP of each task, a row a category."""
    tasks = list(dict.fromkeys(row["task"] for row in scores))
    cells: dict[tuple[int, str], dict[str, str]] = {}
    for row in scores:
        cells.setdefault((row["category_id"], row["name"]), {})[row["task"]] = _number(row["ap"], 2)
    return [
        [
            str(number),
            name,
            str(object_counts.get(str(number), 0)),
            *(found.get(task, "") for task in tasks),
        ]
        for (number, name), found in cells.items()
    ]


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
