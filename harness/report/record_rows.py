"""What was measured as rows of tables: metrics with their references, categories, a training."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.core.checks import Check
from harness.core.printable import counted
from harness.core.tasks import MAIN_METRICS, PANOPTIC, SEMANTIC, TASKS, main_metric
from harness.measure.bootstrap import LEAST_IMAGES
from harness.report.tables import ABSENT, INTERVAL_COLUMN, decimal, number

if TYPE_CHECKING:
    from harness.core.record import CategoryScore, MetricInterval, RunRecord

RECORD_COLUMNS = ("metric", "measured", "reference", "delta", "tolerance", "source", "status")


def record_rows(
    metrics: Mapping[str, float | None], checks: Sequence[Check]
) -> list[tuple[str, ...]]:
    """RECORD_COLUMNS of everything measured, once for each of its references."""
    rows: list[tuple[str, ...]] = []
    for metric, value in metrics.items():
        found = [_check_row(check) for check in checks if check.metric == metric]
        rows += found or [(metric, number(metric, value), "", "", "", "", "")]
    return rows


def with_interval_column(
    rows: Sequence[tuple[str, ...]], intervals: Mapping[str, MetricInterval]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns and rows of a record with their 95 % intervals, if some number has one.

    Args:
        rows: As returned by ``record_rows``.
        intervals: By metric.
    """
    if not intervals:
        return RECORD_COLUMNS, list(rows)
    columns = (*RECORD_COLUMNS[:2], INTERVAL_COLUMN, *RECORD_COLUMNS[2:])
    return columns, [(*row[:2], _range(intervals.get(row[0])), *row[2:]) for row in rows]


def _range(interval: MetricInterval | None) -> str:
    return "" if interval is None else f"{interval.low:.2f} … {interval.high:.2f}"


def certainty_line(record: RunRecord) -> str | None:
    """The smallest difference that a data set can show, in one sentence; None without intervals.

    Of too few images it says why there are none.

    Args:
        record: Record of the run.
    """
    images = record.dataset.evaluated_images
    known = {name: record.intervals.get(metric) for metric, name in MAIN_METRICS.items()}
    least = [f"{one.detectable:.2f} {name}" for name, one in known.items() if one is not None]
    if not least:
        scored = any(record.metrics.get(main_metric(task)) is not None for task in TASKS)
        few = f"{counted(images, 'image')}: too few for a 95 % interval"
        return few if scored and images < LEAST_IMAGES else None
    return (
        f"{counted(images, 'image')} can tell two models apart that differ by "
        f"{' and '.join(least)}; between runs on the same images, harness compare resolves smaller "
        "differences"
    )


def category_rows(scores: Sequence[CategoryScore]) -> list[tuple[str, ...]]:
    """(id, name, AP of each task) by category; one row an id, however names repeat."""
    tasks = list(dict.fromkeys(row.task for row in scores))
    by_id: dict[tuple[int, str], dict[str, str]] = {}
    for row in scores:
        cell = "–" if row.ap is None else f"{row.ap:.2f}"
        by_id.setdefault((row.category_id, row.name), {})[row.task] = cell
    return [
        (str(category_id), name, *(cells.get(task, "") for task in tasks))
        for (category_id, name), cells in by_id.items()
    ]


def verdict_colour(record: RunRecord) -> str:
    """The colour of the verdict line."""
    return {"pass": "bold green", "fail": "bold red"}.get(record.verdict.outcome, "bold yellow")


def _check_row(check: Check) -> tuple[str, ...]:
    reference = check.reference
    tolerance = None if reference is None else reference.tolerance
    return (
        check.metric,
        number(check.metric, check.measured),
        "" if reference is None else number(check.metric, reference.value),
        "" if check.delta is None else number(check.metric, check.delta, sign="+"),
        "" if tolerance is None else str(tolerance),
        "" if reference is None else _short_source(reference.source, reference.role),
        check.status.value,
    )


def _short_source(source: str, role: str) -> str:
    """The first words of a source, its commit cut to seven digits; the record has it whole."""
    first = re.sub(r"(@[0-9a-f]{7})[0-9a-f]+", r"\1", re.split(r"[:,;]", source)[0])
    return f"{role}: {first if len(first) <= 48 else first[:47] + '…'}"


#: What is shown, and what people call it.
NAMES = {
    f"{task}/{metric}": f"{facts.noun} {metric}"
    for task, facts in TASKS.items()
    for metric in ("AP", "AP50")
} | {name: spoken for name, spoken in MAIN_METRICS.items() if name.startswith((PANOPTIC, SEMANTIC))}


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
        [NAMES[metric], *(decimal(column.get(metric)) for column in columns.values())]
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
        # Of records of earlier versions the losses before the first iteration are not known.
        *earlier, first, last = (decimal(value, 3) for value in summary[key])
        if key == "train_loss":
            # The first lines of the log belong to the weights before; the best has none of its own.
            at_first = "" if first == ABSENT else f"{first} at first"
            cells = [first, "", last] if before else [at_first, last]
        else:
            cells = [*(earlier or [""]), first, last] if before else [first, last]
        rows.append([name, *cells, *[""] * (width - len(cells))])
    return rows


def learned_rows(
    scores: Sequence[Mapping[str, Any]], object_counts: Mapping[str, int]
) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows: id, name, objects that were learned, and each task's number.

    Args:
        scores: ``CategoryScore`` of each category and task, as a record keeps it.
        object_counts: Objects that were learned from, by category id.
    """
    tasks = list(dict.fromkeys(row["task"] for row in scores))
    columns = ["id", "category", "learned from"]
    columns += [MAIN_METRICS[main_metric(task)] for task in tasks]
    cells: dict[tuple[int, str], dict[str, str]] = {}
    for row in scores:
        cells.setdefault((row["category_id"], row["name"]), {})[row["task"]] = decimal(row["ap"])
    return columns, [
        [
            str(number),
            name,
            # Stuff has no objects to count.
            "" if found.keys() == {PANOPTIC} else str(object_counts.get(str(number), 0)),
            *(found.get(task, "") for task in tasks),
        ]
        for (number, name), found in cells.items()
    ]
