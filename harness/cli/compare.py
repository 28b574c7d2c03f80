"""``harness compare``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli import console
from harness.cli.options import add_answered_settings
from harness.core.requests.pictures import CompareRequest

if TYPE_CHECKING:
    from harness.workflows.pictures.compare import Comparison, MetricChange

COLUMNS = ("metric", "first", "second", "delta", "95 % of resamples", "")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The settings of CompareRequest."""
    add_answered_settings(parser, CompareRequest)


def run(arguments: argparse.Namespace) -> int:
    """Print what differs; a difference is no failure."""
    from harness.workflows.pictures.compare import compare_runs

    progress = console.progress_of(arguments)
    comparison = compare_runs(
        arguments.first, arguments.second, resamples=arguments.resamples, progress=progress
    )
    if arguments.html is not None:
        _write_page(comparison, arguments, progress)
    if arguments.json:
        console.answer_json(comparison)
    else:
        _print(comparison, arguments)
    return 0


def _write_page(
    comparison: Comparison, arguments: argparse.Namespace, progress: console.TerminalProgress
) -> None:
    """The page, and beside it a folder of the images that changed most."""
    from harness.files.atomic import write_text
    from harness.report.page import comparison_page
    from harness.workflows.pictures.compare_images import draw_changed

    page: Path = arguments.html
    folder = page.with_name(f"{page.stem}-pictures")
    drawn = draw_changed(comparison, arguments.first, arguments.second, folder, progress)
    pictures = {image: f"{folder.name}/{name}" for image, name in drawn.items()}
    write_text(page, comparison_page(comparison, _rows(comparison.metrics), pictures))


def _print(comparison: Comparison, arguments: argparse.Namespace) -> None:
    from harness.report.tables import render

    style = arguments.format or console.default_format()
    console.answer(render(("what differs", "first", "second"), comparison.facts, style), "")
    console.answer(render(COLUMNS, _rows(comparison.metrics), style), "")
    if comparison.categories:
        rows = [
            (task, str(number), name, f"{one:.2f}", f"{other:.2f}", f"{other - one:+.2f}")
            for task, number, name, one, other in comparison.categories
        ]
        columns = ("task", "id", "category", "first", "second", "delta")
        console.answer(render(columns, rows, style), "")
    if comparison.first_differing is None:
        console.answer("the predictions of both runs are the same")
        return
    worst = ", ".join(f"{image} ({count})" for image, count in comparison.images)
    console.answer(
        f"{comparison.differing_images} image(s) differ, the first is "
        f"{comparison.first_differing}; most predictions changed in: {worst}"
    )


def _rows(metrics: tuple[MetricChange, ...]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for one in metrics:
        known = one.first is not None and one.second is not None
        delta = f"{one.second - one.first:+.3f}" if known else "–"  # type: ignore[operator]
        interval = word = ""
        if one.interval is not None:
            interval = f"{one.interval.low:+.3f} … {one.interval.high:+.3f}"
            word = "noise" if one.interval.is_noise else "real"
        rows.append((one.metric, _number(one.first), _number(one.second), delta, interval, word))
    return rows


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
