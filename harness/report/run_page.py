"""The report of a run: one page of HTML that needs nothing else but the pictures it links to."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from harness.core.record import RunRecord
from harness.core.tasks import MAIN_METRICS
from harness.files.json import to_plain
from harness.measure.analysis import TaskAnalysis
from harness.measure.operating import BestThreshold
from harness.measure.tide import MAIN_ERRORS, CategoryErrors
from harness.report import analysis
from harness.report.analysis import (
    MatrixPlot,
    Table,
    confusion_rows,
    error_rows,
    iou_rows,
    matrix_of,
    plots_of,
    sentences_of,
    task_word,
)
from harness.report.missing_numbers import absent_lines
from harness.report.page import link_to, template
from harness.report.record_rows import certainty_line, record_rows, with_interval_column
from harness.report.tables import INTERVAL_COLUMN, decimal, number
from harness.visualization.truth import LEGEND

#: Confusions in a table of the page.
SHOWN_CONFUSIONS = 25

#: Metrics of the tiles on top.


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstImage:
    """One image of the page."""

    picture: str
    """Path of the drawing, relative to the page."""
    thumbnail: str
    """The drawing, small, as a data URI."""
    title: str
    """Its file name."""
    facts: str
    """What is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportContent:
    """What a report is made of."""

    record: RunRecord
    """Of the run."""
    folder: str
    """The run folder."""
    names: Mapping[int, str]
    """Names by category id."""
    tasks: tuple[TaskAnalysis, ...]
    """Analyzed tasks; empty where that was not possible."""
    threshold: float
    """Score from which detections count for confusions and for the errors of an image."""
    images: tuple[WorstImage, ...] = ()
    """The worst images that could be drawn."""
    image_notes: tuple[str, ...] = ()
    """Sentences about the images, also why one is not drawn."""
    why_not: str = ""
    """Why there is no analysis; empty where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _TaskSection:
    """One task on the page."""

    name: str
    """``bbox`` or ``segm``."""
    word: str
    """The same in words."""
    sizes: tuple[str, ...]
    """Size classes."""
    errors: tuple[tuple[tuple[str, ...], float], ...]
    """Rows of errors, with the length of a bar in percent."""
    nothing: str
    """Why there are none."""
    confusions: Table
    """Columns and rows."""
    matrix: MatrixPlot | None
    """The confusion matrix."""


def run_page(content: ReportContent) -> str:
    """The page of an evaluation."""
    return template("run.html.j2").render(page=_page(content), link=link_to)


def _page(content: ReportContent) -> dict[str, Any]:
    record, tasks = content.record, content.tasks
    model = str(record.request.get("model") or record.resolved.get("model") or "predictions")
    sections = [_section(one, content) for one in tasks]
    return {
        "title": f"{model} on {record.dataset.name}",
        "subtitle": _subtitle(record),
        "outcome": record.verdict.outcome
        if record.verdict.outcome != "nothing-to-compare"
        else "none",
        "verdict": record.verdict.line,
        "reasons": _reasons(record),
        "tiles": _tiles(record),
        "summary": _summary(content),
        "sections": _sections(sections),
        "metrics": with_interval_column(
            record_rows(record.metrics, record.checks), record.intervals
        ),
        "numeric": ("measured", INTERVAL_COLUMN, "reference", "delta", "tolerance"),
        "wide": ("source", "value"),
        "tasks": sections,
        "plots": [group for group in map(plots_of, tasks) if group],
        "axes": analysis,
        "by_iou": iou_rows(tasks),
        "no_curves": content.why_not or "there are neither objects nor detections.",
        "categories": _category_table(content),
        "threshold": f"{content.threshold:g}",
        "images": content.images,
        "image_notes": content.image_notes,
        "legend": LEGEND,
        "deviations": record.protocol_deviations,
        "protocol": _protocol(record),
        "timing": _timing(record),
        "environment": _facts(to_plain(record.environment)),
        "environment_line": _environment_line(record),
        "commands": _commands(record, content.folder),
    }


def _summary(content: ReportContent) -> list[str]:
    """What the page says, in a few sentences."""
    record = content.record
    certainty = certainty_line(record)
    found = [text for one in content.tasks for text in sentences_of(one, content.threshold)]
    absent = absent_lines(record.metrics, record.per_category)
    said = (text for text in (*absent, certainty, content.why_not, *found) if text)
    return [text if text.endswith(".") else f"{text}." for text in said]


def _subtitle(record: RunRecord) -> str:
    when = f"{datetime.fromisoformat(record.created_utc):%Y-%m-%d %H:%M} UTC"
    where = record.environment.hostname
    return f"{when} · harness {record.harness_version} · {where} · {record.run_id}"


def _reasons(record: RunRecord) -> list[str]:
    """Why a verdict is what it is, each reason once."""
    reasons = dict.fromkeys(
        f"{check.metric}: {check.reason}"
        for check in record.checks
        if check.reason and check.reason not in record.verdict.line
    )
    return [*reasons][:6]


def _tiles(record: RunRecord) -> list[tuple[str, str, str]]:
    tiles = []
    for metric, name in MAIN_METRICS.items():
        if metric in record.metrics:
            found = [one for one in record.checks if one.metric == metric and one.reference]
            note = ""
            if found and found[0].reference is not None:
                reference = number(metric, found[0].reference.value)
                delta = number(metric, found[0].delta, sign="+")
                note = f"reference {reference}" + (
                    f" ({delta})" if found[0].delta is not None else ""
                )
            tiles.append((name, number(metric, record.metrics[metric]), note))
            if metric in record.intervals:
                one = record.intervals[metric]
                tiles[-1] = (
                    *tiles[-1][:2],
                    f"95 %: {one.low:.2f} … {one.high:.2f}; {note}".rstrip("; "),
                )
    facts = record.dataset
    tiles.append(("images", f"{facts.evaluated_images:,}", f"of {facts.image_count:,}"))
    infer = record.stage_times_s.get("infer")
    if infer is not None:
        tiles.append(("inference", _duration(infer), "with reading the images"))
    return tiles


def _section(one: TaskAnalysis, content: ReportContent) -> _TaskSection:
    _, rows = error_rows(one.errors)
    costs = [cost.dap or 0.0 for cost in (*one.errors.main, *one.errors.special)]
    most = max(costs) or 1.0
    some = one.errors.ap50 is not None
    return _TaskSection(
        name=one.task,
        word=task_word(one.task),
        sizes=tuple(one.errors.by_size),
        errors=tuple(
            (row, 100 * max(cost, 0.0) / most) for row, cost in zip(rows, costs, strict=True)
        )
        if some
        else (),
        nothing="There are neither objects nor detections.",
        confusions=confusion_rows(one.confusions, content.names, SHOWN_CONFUSIONS),
        matrix=matrix_of(one, dict(content.names)),
    )


def _sections(tasks: Sequence[_TaskSection]) -> list[tuple[str, str]]:
    """(id, name) of the sections that the page has."""
    return [
        ("metrics", "Metrics"),
        *((f"errors-{one.name}", f"Errors, {one.word}") for one in tasks),
        ("curves", "Curves"),
        ("categories", "Categories"),
        *(
            (f"confusions-{one.name}", f"Confusions, {one.word}")
            for one in tasks
            if one.confusions[1] or one.matrix
        ),
        ("images", "Worst images"),
        ("protocol", "Protocol"),
        ("timing", "Timing"),
        ("environment", "Environment"),
        ("command", "Again"),
    ]


def _category_table(content: ReportContent) -> Table:
    """A row a category: its APs, what errors cost it, and its best threshold, task by task."""
    aps = {(row.task, row.category_id): row.ap for row in content.record.per_category}
    errors = [{one.category_id: one for one in task.errors.by_category} for task in content.tasks]
    best = [{one.category_id: one for one in task.thresholds} for task in content.tasks]
    ids = content.names if content.tasks else ()
    columns = ["id", "category", "objects"]
    for task in content.tasks:
        columns += [
            f"{task.task} AP",
            *(f"{task.task} {MAIN_ERRORS[name]}" for name in MAIN_ERRORS),
        ]
        columns += [f"{task.task} threshold", f"{task.task} F1"]
    rows = []
    for category_id in sorted(ids):
        objects = best[0].get(category_id)
        row = [
            str(category_id),
            content.names[category_id],
            "" if objects is None else f"{objects.objects:,}",
        ]
        for task, costs, thresholds in zip(content.tasks, errors, best, strict=True):
            row.append(decimal(aps.get((task.task, category_id))))
            row += _category_cells(costs.get(category_id), thresholds.get(category_id))
        rows.append(tuple(row))
    return tuple(columns), rows


def _category_cells(errors: CategoryErrors | None, best: BestThreshold | None) -> list[str]:
    costs = [decimal(None if errors is None else errors.dap[name]) for name in MAIN_ERRORS]
    threshold, f1 = (None, None) if best is None else (best.threshold, best.f1)
    return [*costs, decimal(threshold), decimal(f1, 3)]


def _protocol(record: RunRecord) -> list[tuple[str, str]]:
    """Model, engine, weights and data of the run, and what else was asked for."""
    parts = {
        "engine": to_plain(record.engine) or {},
        "checkpoint": to_plain(record.checkpoint) or {},
        "dataset": to_plain(record.dataset),
        "setting": record.resolved,
    }
    rows = []
    for name, facts in parts.items():
        kept = {
            key: value for key, value in facts.items() if key not in ("architecture", "warnings")
        }
        rows += [(f"{name}: {key}", text) for key, text in _facts(kept)]
    rows += [("data", sentence) for sentence in record.dataset.warnings]
    rows += [("note", sentence) for sentence in record.notes]
    return rows


def _facts(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Names and values of what is known, parts of parts with a dot."""
    rows: list[tuple[str, str]] = []
    for key, value in tree.items():
        if isinstance(value, Mapping):
            rows += _facts(value, f"{prefix}{key}.")
        elif value is not None and value != [] and value != "":
            shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            rows.append((f"{prefix}{key}", shown))
    return rows


def _timing(record: RunRecord) -> Table:
    whole = sum(record.stage_times_s.values())
    rows: list[tuple[str, ...]] = [
        (stage, f"{seconds:.2f}", f"{seconds / whole:.0%}" if whole else "–")
        for stage, seconds in record.stage_times_s.items()
    ]
    return ("stage", "seconds", "share"), rows


def _environment_line(record: RunRecord) -> str:
    here = record.environment
    parts = [*here.gpus, f"{here.cpu}, {here.cpu_count} cores", f"Python {here.python}"]
    parts += [f"{name} {version}" for name, version in here.packages.items() if name == "torch"]
    return " · ".join(parts)


def _commands(record: RunRecord, folder: str) -> list[tuple[str, str]]:
    """What to type to make the run again, and to see more of it."""
    return [
        ("The command of this run:", shlex.join(record.command)),
        (
            "The images with most errors, beside the ground truth:",
            shlex.join(("harness", "show", folder)),
        ),
        ("This page again:", shlex.join(("harness", "report", folder))),
    ]


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
