"""Records as tables: for a terminal (rich), for Markdown and for plain text (tabulate)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from harness.core.checks import Check, Status
from harness.core.record import CategoryScore, RunRecord

TableFormat = Literal["rich", "markdown", "plain"]
FORMATS: tuple[TableFormat, ...] = ("rich", "markdown", "plain")

COLOURS = {
    Status.PASS: "green",
    Status.FAIL: "red",
    Status.MISSING: "red",
    Status.NOT_COMPARABLE: "yellow",
    Status.WITHIN_NOISE: "yellow",
    Status.NO_REFERENCE: "cyan",
    Status.SHOWN: "dim",
}

CHECK_COLUMNS = ("metric", "measured", "reference", "delta", "tolerance", "source", "status")


def check_rows(checks: Sequence[Check]) -> list[tuple[str, ...]]:
    """CHECK_COLUMNS of every check, as text."""
    rows = []
    for check in checks:
        reference = check.reference
        tolerance = None if reference is None else reference.tolerance
        rows.append(
            (
                check.metric,
                number(check.metric, check.measured),
                "" if reference is None else number(check.metric, reference.value),
                "" if check.delta is None else f"{check.delta:+.3f}",
                "" if tolerance is None else _allowed(tolerance.below, tolerance.above),
                "" if reference is None else _short_source(reference.source, reference.role),
                check.status.value,
            )
        )
    return rows


def metric_rows(metrics: dict[str, float | None]) -> list[tuple[str, ...]]:
    """(metric, value) of everything measured."""
    return [(name, number(name, value)) for name, value in metrics.items()]


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


def render(columns: Sequence[str], rows: Sequence[Sequence[str]], style: TableFormat) -> Any:
    """A table: a rich renderable for ``rich``, text otherwise."""
    if style != "rich":
        from tabulate import tabulate

        kind = "github" if style == "markdown" else "simple"
        return tabulate(rows, headers=columns, tablefmt=kind, disable_numparse=True)
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        numeric = column in ("measured", "reference", "delta", "value")
        table.add_column(column, justify="right" if numeric else "left")
    colours = {status.value: colour for status, colour in COLOURS.items()}
    for row in rows:
        table.add_row(*(Text(cell, style=colours.get(cell, "")) for cell in row))
    return table


def verdict_colour(record: RunRecord) -> str:
    """The colour of the verdict line."""
    return {"pass": "bold green", "fail": "bold red"}.get(record.verdict.outcome, "bold yellow")


def number(metric: str, value: float | None) -> str:
    """A metric as text: AP to 3 digits, times to 0.1 ms, memory in MiB."""
    if value is None:
        return "–"
    if metric.endswith("_bytes"):
        return f"{value / 2**20:,.0f} MiB"
    if metric.endswith("_s") or metric.startswith("s_per"):
        return f"{value:.4f}"
    return f"{value:.3f}"


def _allowed(below: float | None, above: float | None) -> str:
    if below == above:
        return f"±{below:g}"
    low = "-∞" if below is None else f"-{below:g}"
    high = "+∞" if above is None else f"+{above:g}"
    return f"{low} … {high}"


def _short_source(source: str, role: str) -> str:
    """The first words of a source; the record has it whole."""
    first = source.split(":")[0].split(",")[0]
    return f"{role}: {first if len(first) <= 48 else first[:47] + '…'}"
