"""``harness compare``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from harness.cli import console
from harness.cli.options import add_answered_settings, settings_from
from harness.core.requests.pictures import CompareRequest

if TYPE_CHECKING:
    from harness.workflows.pictures.compare import Comparison

COLUMNS = ("metric", "first", "second", "delta", "95 % of resamples", "")

CATEGORY_COLUMNS = ("task", "id", "category", "first", "second", "delta", "second is")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of CompareRequest."""
    add_answered_settings(parser, CompareRequest)


def run(arguments: argparse.Namespace) -> int:
    """Print what differs; return 0: a difference is no failure."""
    from harness import api

    comparison = api.compare(
        **settings_from(CompareRequest, arguments), progress=console.progress_of(arguments)
    )
    if arguments.json:
        console.answer_json(comparison)
    else:
        _print(comparison, arguments)
        if arguments.html is not None:
            console.answer(f"page: {arguments.html}")
    return 0


def _print(comparison: Comparison, arguments: argparse.Namespace) -> None:
    from harness.report.tables import render
    from harness.workflows.pictures.compare import category_rows, metric_rows

    style = arguments.format or console.default_format()
    console.answer(render(COLUMNS, metric_rows(comparison.metrics), style), "")
    if comparison.categories:
        rows = category_rows(comparison.categories)
        console.answer(render(CATEGORY_COLUMNS, rows, style), "")
    if comparison.facts:
        console.answer(render(("what differs", "first", "second"), comparison.facts, style), "")
    if comparison.first_differing is None:
        console.answer("the predictions of both runs are the same")
        return
    worst = ", ".join(f"{image} ({count})" for image, count in comparison.images)
    console.answer(
        f"{comparison.differing_images} image(s) differ, the first is "
        f"{comparison.first_differing}; most predictions changed in: {worst}"
    )
