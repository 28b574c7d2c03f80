"""An analysis as tables and plots: costs of errors, AP by IoU, thresholds, confusions, calibration.

Plots are computed here in units of an SVG, and drawn by ``plot.html.j2``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.core.printable import counted
from harness.core.tasks import TASKS
from harness.measure.analysis import TaskAnalysis
from harness.measure.coco import RECALL_LEVELS
from harness.measure.operating import NO_OBJECT, BestThreshold, Calibration, Confusion
from harness.measure.tide import MAIN_ERRORS, SPECIAL_ERRORS, ErrorAnalysis
from harness.report.missing_numbers import WHY
from harness.report.tables import decimal

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]

TASK_WORDS: Mapping[str, str] = {task: facts.plural for task, facts in TASKS.items()}

#: What each type of error means, and how it is corrected.
ERROR_WORDS: Mapping[str, str] = {
    "classification": "right place, wrong category",
    "localization": "right category, IoU of 0.1 to 0.5",
    "both": "wrong category, and not well placed",
    "duplicate": "a better detection has the object",
    "background": "no object there",
    "missed": "an object that no detection is about",
    "false positive": "every false detection below every true one",
    "false negative": "every object without a match left out",
}

#: Rows of a table of confusions in the terminal.
SHOWN_CONFUSIONS = 10


def task_word(task: str) -> str:
    """What a task finds; its own name where there is no word for it."""
    return TASK_WORDS.get(task, task)


def error_rows(errors: ErrorAnalysis) -> Table:
    """A row a type of error: its name, TIDE's, how many, what it costs, by size, what it means."""
    sizes = list(errors.by_size)
    rows: list[tuple[str, ...]] = []
    for one in (*errors.main, *errors.special):
        by_size = [decimal(errors.by_size[size].get(one.name)) for size in sizes]
        short = {**MAIN_ERRORS, **SPECIAL_ERRORS}[one.name]
        rows.append(
            (
                one.name,
                short,
                f"{one.count:,}",
                decimal(one.dap),
                *(by_size if one.name in MAIN_ERRORS else [""] * len(sizes)),
                ERROR_WORDS[one.name],
            )
        )
    return ("error", "TIDE", "count", "dAP", *sizes, "meaning"), rows


def iou_rows(tasks: Sequence[TaskAnalysis]) -> Table:
    """A row an IoU threshold, a column a task."""
    names = list(tasks[0].precision.ap_by_iou) if tasks else []
    rows = [(name, *(decimal(one.precision.ap_by_iou[name]) for one in tasks)) for name in names]
    return ("IoU", *(f"{one.task} AP" for one in tasks)), rows


def threshold_rows(thresholds: Sequence[BestThreshold], names: Mapping[int, str]) -> Table:
    """A row for all categories together, then one for each."""
    rows: list[tuple[str, ...]] = [
        (
            "" if one.category_id is None else str(one.category_id),
            "all categories" if one.category_id is None else names[one.category_id],
            f"{one.objects:,}",
            f"{one.detections:,}",
            decimal(one.threshold, 3),
            decimal(one.precision, 3),
            decimal(one.recall, 3),
            decimal(one.f1, 3),
            one.reason,
        )
        for one in thresholds
    ]
    columns = ("id", "category", "objects", "detections", "threshold", "precision", "recall", "F1")
    return (*columns, "why none"), rows


def confusion_rows(
    confusions: Sequence[Confusion], names: Mapping[int, str], most: int = SHOWN_CONFUSIONS
) -> Table:
    """The most frequent pairs of two categories."""
    rows: list[tuple[str, ...]] = [
        (names[one.truth], names[one.predicted], f"{one.count:,}")
        for one in confusions
        if one.truth is not None and one.predicted is not None and one.truth != one.predicted
    ]
    return ("object", "detected as", "count"), rows[:most]


def sentences_of(one: TaskAnalysis, threshold: float) -> list[str]:
    """What a task's analysis says in a few sentences; also what it cannot say, and why."""
    word = task_word(one.task)
    if one.errors.ap50 is None:
        return [f"{word}: there are neither objects nor detections; nothing can be analyzed."]
    known = [error for error in one.errors.main if error.dap is not None]
    undefined = " and ".join(error.name for error in one.errors.main if error.dap is None)
    best = one.thresholds[0]
    sentences = []
    if best.reason == NO_OBJECT and one.task in ("bbox", "segm", "keypoints"):
        lacks = WHY[one.task]
        sentences.append(f"{word}: {lacks}: every detection counts as one of background.")
    if undefined:
        sentences.append(
            f"{word}: what {undefined} errors cost is not defined: without them no AP is left."
        )
    if known and (worst := max(known, key=lambda error: error.dap or 0.0)).dap:
        sentences.append(
            f"{word}: {worst.name} errors cost most, {worst.dap:.2f} of the AP at an IoU of 0.5."
        )
    elif not undefined:
        sentences.append(f"{word}: no type of error costs any AP at an IoU of 0.5.")
    if best.threshold is None:
        sentences.append(f"{word}: no threshold is best: {best.reason}.")
    else:
        sentences.append(
            f"{word}: F1 is highest, {best.f1:.3f}, for scores of at least {best.threshold:.3f} "
            f"(precision {best.precision:.3f}, recall {best.recall:.3f})."
        )
    if one.calibration.expected_error is not None:
        sentences.append(
            f"{word}: a score and the share of true positives differ by "
            f"{one.calibration.expected_error:.3f} on average."
        )
    wrong = sum(image.errors for image in one.images)
    sentences.append(
        f"{word}: {counted(wrong, 'error')} in {counted(len(one.images), 'image')} "
        f"among detections that score at least {threshold:g}."
    )
    return sentences


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
        summary=(
            f"best F1 {decimal(best.f1, 3)} at {decimal(best.threshold, 3)}"
            if best.threshold is not None
            else f"no threshold is best: {best.reason}"
        ),
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
