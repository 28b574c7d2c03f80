"""A night, two runs compared, or a sweep, as one page of HTML that needs nothing else.

The page of a night answers first what broke, since when, and what changed then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from harness.core.checks import Check, Status
from harness.core.nightly import Night
from harness.core.printable import printable
from harness.core.tasks import MAIN_METRICS
from harness.files.history import NightRow, Point, read_nights, read_points
from harness.files.json import to_plain
from harness.measure.sweep import Sweep
from harness.report import sweep_plot as sweep_axes
from harness.report import trends as axes
from harness.report.missing_numbers import absent_lines, compared_metrics
from harness.report.night import COLUMNS, MARKS, SOUND, night_rows, reason_of, troubles_of
from harness.report.sweep import (
    columns_of,
    explanation,
    recommendations,
    sentences_without_numbers,
    sweep_rows,
)
from harness.report.sweep_plot import plots_of
from harness.report.tables import number
from harness.report.trends import WATCHED, Trend, past_of, plot_of, sentence_of, trends_of

#: What the axis of a watched metric is called.
AXES = {
    **{metric: f"{name}, 0–100" for metric, name in MAIN_METRICS.items()},
    "s_per_image": "s / image",
}


def link_to(path: str) -> str:
    """A relative path as a link, also of bytes that are not UTF-8."""
    return quote_from_bytes(path.encode("utf-8", "surrogateescape"))


def comparison_page(
    comparison: Any, rows: Sequence[Sequence[str]], pictures: Mapping[int, str], threshold: float
) -> str:
    """The page of ``harness compare``.

    Args:
        rows: Rows of its metrics, as its table shows them.
        pictures: Relative to the page, by image id.
        threshold: Score from which predictions are drawn on them.
    """
    return template("compare.html.j2").render(
        comparison=comparison,
        rows=rows,
        absent=absent_lines(compared_metrics(comparison.metrics)),
        pictures=pictures,
        threshold=f"{threshold:g}",
        link=link_to,
    )


def sweep_page(sweep: Sweep) -> str:
    """The page of ``harness sweep``."""
    return template("sweep.html.j2").render(
        sweep=sweep,
        recommendations=recommendations(sweep),
        explanation=explanation(sweep),
        columns=columns_of(sweep),
        rows=sweep_rows(sweep),
        notes=sentences_without_numbers(sweep),
        plots=plots_of(sweep),
        axes=sweep_axes,
        environment=to_plain(sweep.environment),
    )


def night_page(night: Night, history: Path | None) -> str:
    """Render the page of a night.

    Args:
        night: The night.
        history: The nights it is compared with, itself among them; None for a page without them.
    """
    nights: list[NightRow] = []
    points: list[Point] = []
    if history is not None:
        nights = [one for one in read_nights(history) if one.created_utc <= night.created_utc]
        points = read_points(history, metrics=WATCHED)
    ids = [one.night_id for one in nights]
    trends = trends_of([point for point in points if point.night_id in set(ids)])
    counts = Counter[str](result.status for result in night.cells)
    broken = {result.cell.name for result in night.cells if result.status not in SOUND}
    return template("night.html.j2").render(
        night=night,
        counts=[(status, MARKS[status], counts[status]) for status in MARKS if counts[status]],
        troubles=troubles_of(night, nights, points),
        drifts=[(one, AXES[one.metric], sentence_of(one)) for one in _quiet(trends, broken)],
        past=[(one, AXES[one.metric], text) for one in trends for text in past_of(one)],
        not_looked_for=next((one.why_not for one in trends if one.why_not), ""),
        columns=COLUMNS,
        rows=list(zip([cell.status for cell in night.cells], night_rows(night), strict=True)),
        checks=_checks(night),
        trends=_by_cell(trends, ids),
        nights=nights,
        axes=axes,
    )


def _quiet(trends: Sequence[Trend], broken: Container[str]) -> list[Trend]:
    """The drifting ones of cells that pass."""
    return [one for one in trends if one.drift is not None and one.cell not in broken]


def _by_cell(trends: Sequence[Trend], ids: Sequence[str]) -> list[tuple[str, str, Any]]:
    """(cell, device, its plots) with what a plot is labelled with."""
    return [
        (cell, device, [(one, plot_of(one, ids), AXES[one.metric]) for one in found])
        for (cell, device), found in groupby(trends, lambda one: (one.cell, one.device_class))
    ]


def template(name: str) -> Template:
    """A page's template, with the filters that pages use."""
    return _environment().get_template(name)


@cache
def _environment() -> Environment:
    """The templates of all pages; each is compiled once a process."""
    environment = Environment(
        loader=PackageLoader("harness.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters.update(day=_day, reason=reason_of, number=number)
    return environment


def _shown(value: Any) -> Any:
    """Text without control characters; what is markup already stays as it is."""
    return value if hasattr(value, "__html__") else printable(str(value))


def _day(created_utc: str) -> str:
    return f"{datetime.fromisoformat(created_utc):%Y-%m-%d %H:%M} UTC"


def _checks(night: Night) -> list[tuple[str, ...]]:
    """Cell, metric, measured, reference, delta, allowed, kind, status; what fails comes first."""
    found = [
        (result.cell.name, check)
        for result in night.cells
        for check in result.checks
        if check.reference is not None and check.status is not Status.INFORMATIONAL
    ]
    found.sort(key=lambda row: row[1].status not in (Status.FAIL, Status.MISSING))
    return [(cell, *_check_row(check)) for cell, check in found]


def _check_row(check: Check) -> tuple[str, ...]:
    assert check.reference is not None  # others are not shown
    return (
        check.metric,
        number(check.metric, check.measured),
        number(check.metric, check.reference.value),
        number(check.metric, check.delta, sign="+"),
        "" if check.reference.tolerance is None else str(check.reference.tolerance),
        check.reference.role,
        check.status.value,
    )
