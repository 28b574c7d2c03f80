"""Curves as plots: computed here in units of an SVG, drawn by ``plot.html.j2``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.measure.analysis import TaskAnalysis
from harness.measure.coco import RECALL_LEVELS
from harness.measure.operating import Calibration
from harness.report.analysis import decimal, task_word

#: Size of a plot in SVG units, and its room for the labels of both axes.
WIDTH, HEIGHT = 360, 250
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 12, 38

#: CSS classes of the series, in their order; the style has a colour and a dash for each.
SERIES_CLASSES = ("s0", "s1", "s2", "s3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line of a plot."""

    name: str
    """Its name in the legend."""
    lines: tuple[str, ...]
    """Points of SVG polylines; more than one where values are undefined in between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePlot:
    """Values over 0…1, or over a range of thresholds."""

    title: str
    """What it shows, also for who does not see it."""
    x_title: str
    """Name of the x axis."""
    x_ticks: tuple[tuple[float, str], ...]
    """(position, text)."""
    y_ticks: tuple[tuple[float, str], ...]
    """(position, text)."""
    series: tuple[Series, ...]
    """Its lines."""
    bars: tuple[tuple[float, float, float, float], ...] = ()
    """(x, y, width, height)."""
    summary: str = ""
    """The main numbers in words."""


def plots_of(one: TaskAnalysis) -> list[CurvePlot]:
    """The plots of a task that have something to show."""
    found = [_precision_recall(one), _by_iou(one), _by_threshold(one), _calibration(one)]
    return [plot for plot in found if plot.bars or any(line.lines for line in plot.series)]


def _precision_recall(one: TaskAnalysis) -> CurvePlot:
    word = task_word(one.task)
    curves = {name: one.precision.precision.get(name, ()) for name in ("0.50", "0.75", "mean")}
    return _plot(
        f"Precision over recall, {word}",
        "recall",
        [
            ("mean of 0.50–0.95" if name == "mean" else f"IoU {name}", RECALL_LEVELS, values)
            for name, values in curves.items()
        ],
        summary=f"AP50 {decimal(one.precision.ap_by_iou['0.50'])}, "
        f"AP75 {decimal(one.precision.ap_by_iou['0.75'])}",
    )


def _by_iou(one: TaskAnalysis) -> CurvePlot:
    found = one.precision.ap_by_iou
    ious = [float(name) for name in found]
    values = [None if ap is None else ap / 100 for ap in found.values()]
    return _plot(
        f"AP by IoU threshold, {task_word(one.task)}",
        "IoU threshold",
        [("AP", ious, values)],
        across=(0.5, 0.95),
        percent=True,
        summary=f"{decimal(found['0.50'])} at 0.50, {decimal(found['0.95'])} at 0.95",
    )


def _by_threshold(one: TaskAnalysis) -> CurvePlot:
    found, best = one.scores, one.thresholds[0]
    return _plot(
        f"Precision, recall and F1 over the score threshold, {task_word(one.task)}",
        "score threshold",
        [
            ("F1", found.threshold, found.f1),
            ("precision", found.threshold, found.precision),
            ("recall", found.threshold, found.recall),
        ],
        summary=f"best F1 {decimal(best.f1, 3)} at {decimal(best.threshold, 3)}",
    )


def _calibration(one: TaskAnalysis) -> CurvePlot:
    found = one.calibration
    plot = _plot(
        f"Share of true positives over the score, {task_word(one.task)}",
        "score",
        [("perfectly calibrated", (0.0, 1.0), (0.0, 1.0))] if any(_bars(found)) else [],
        summary=f"off by {decimal(found.expected_error, 3)} on average",
    )
    return CurvePlot(
        title=plot.title,
        x_title=plot.x_title,
        x_ticks=plot.x_ticks,
        y_ticks=plot.y_ticks,
        series=plot.series,
        bars=_bars(found),
        summary=plot.summary,
    )


def _bars(found: Calibration) -> tuple[tuple[float, float, float, float], ...]:
    bars = []
    for one in found.bins:
        if one.precision is not None:
            left, right = _across(one.low, 0.0, 1.0), _across(one.high, 0.0, 1.0)
            top = _down(one.precision)
            bars.append((left + 1, top, right - left - 2, HEIGHT - BOTTOM - top))
    return tuple(tuple(round(value, 1) for value in bar) for bar in bars)  # type: ignore[misc]


def _plot(
    title: str,
    x_title: str,
    lines: Sequence[tuple[str, Sequence[float], Sequence[float | None]]],
    *,
    across: tuple[float, float] = (0.0, 1.0),
    percent: bool = False,
    summary: str = "",
) -> CurvePlot:
    low, high = across
    step = 0.2 if high - low > 0.5 else 0.1
    steps = [low + step * number for number in range(round((high - low) / step + 0.4) + 1)]
    steps = [x for x in steps if x <= high + 1e-9]
    return CurvePlot(
        title=title,
        x_title=x_title,
        x_ticks=tuple((round(_across(x, low, high), 1), f"{round(x, 2):g}") for x in steps),
        y_ticks=tuple(
            (round(_down(y / 5), 1), f"{y * 20}" if percent else f"{y / 5:g}") for y in range(6)
        ),
        series=tuple(
            Series(name=name, lines=_polylines(xs, ys, low, high)) for name, xs, ys in lines
        ),
        summary=summary,
    )


def _polylines(
    xs: Sequence[float], ys: Sequence[float | None], low: float, high: float
) -> tuple[str, ...]:
    """Runs of defined values, each with more than one point."""
    runs: list[list[str]] = [[]]
    for x, y in zip(xs, ys, strict=bool(ys)):
        if y is None:
            runs.append([])
        else:
            runs[-1].append(f"{_across(x, low, high):.1f},{_down(y):.1f}")
    return tuple(" ".join(run) for run in runs if len(run) > 1)


def _across(x: float, low: float, high: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (x - low) / (high - low)


def _down(y: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - y)


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixPlot:
    """A confusion matrix: a row a category of objects, a column one of detections."""

    names: tuple[str, ...]
    """Of the rows; the last is the background."""
    cells: tuple[tuple[int, int, float], ...]
    """(column, row, opacity) of the cells that are not empty."""


#: Categories of a matrix that can still be seen.
MOST_CATEGORIES = 120


def matrix_of(one: TaskAnalysis, names: dict[int, str]) -> MatrixPlot | None:
    """The confusion matrix; None for more categories than can be seen, or without a pair."""
    if not one.confusions or len(names) > MOST_CATEGORIES:
        return None
    order: dict[int | None, int] = {number: place for place, number in enumerate(sorted(names))}
    order[None] = len(names)
    total: dict[int | None, int] = {}
    for pair in one.confusions:
        total[pair.truth] = total.get(pair.truth, 0) + pair.count
    cells = tuple(
        (
            order[pair.predicted],
            order[pair.truth],
            round(max(0.08, pair.count / total[pair.truth]), 2),
        )
        for pair in one.confusions
    )
    return MatrixPlot(
        names=(*(names[number] for number in sorted(names)), "background / not detected"),
        cells=cells,
    )
