"""``harness compare``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli import console
from harness.cli.options import add_output_settings, settings_from
from harness.core.errors import UsageError
from harness.core.printable import counted
from harness.core.requests.pictures import CompareRequest
from harness.core.settings import flat_settings

if TYPE_CHECKING:
    from harness.workflows.comparison.runs import Comparison

COLUMNS = ("metric", "first", "second", "delta", "95 % of resamples", "second is")

CATEGORY_COLUMNS = ("task", "id", "category", "first", "second", "delta", "second is")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of CompareRequest."""
    add_output_settings(parser, CompareRequest)


def run(arguments: argparse.Namespace) -> int:
    """Print what differs; return 0: a difference is no failure."""
    from harness import api

    settings = settings_from(CompareRequest, arguments)
    others, plot = settings.pop("others"), settings.pop("plot")
    if others or plot is not None:
        _require_not_of_two(settings)
        return _run_several((arguments.first, arguments.second, *others), arguments)
    comparison = api.compare(**settings, progress=console.progress_of(arguments))
    if arguments.json:
        console.print_json(comparison)
    else:
        _print(comparison, arguments)
        if arguments.html is not None:
            console.print_parts(f"page: {arguments.html}")
    return 0


def _require_not_of_two(given: Mapping[str, Any]) -> None:
    """Check that nothing is asked for that only a comparison of two runs has.

    Raises:
        UsageError: Something is.
    """
    for one in flat_settings(CompareRequest):
        if one.name in given and not one.positional and given[one.name] != one.default:
            raise UsageError(
                f"{one.flag} belongs to a comparison of two runs; several are put into one table",
                hint="leave it out; or give two runs, without --plot",
            )


def _run_several(folders: Sequence[Path], arguments: argparse.Namespace) -> int:
    """Print a table of several runs."""
    from harness import api
    from harness.report.tables import render
    from harness.workflows.comparison.several import table_rows

    found = api.compare_several(
        *folders, plot=arguments.plot, progress=console.progress_of(arguments)
    )
    if arguments.json:
        console.print_json(found)
        return 0
    style = arguments.format or console.default_format()
    columns, rows = table_rows(found)
    console.print_parts(render(columns, rows, style), "")
    for row in found.rows:
        if row.note:
            console.print_parts(f"{row.name}: {row.note}")
    if found.plot is not None:
        console.print_parts(f"plot: {found.plot}")
    return 0


def _print(comparison: Comparison, arguments: argparse.Namespace) -> None:
    from harness.report.missing_numbers import absent_lines, compared_metrics
    from harness.report.tables import render
    from harness.workflows.comparison.runs import category_rows, metric_rows

    style = arguments.format or console.default_format()
    console.print_parts(render(COLUMNS, metric_rows(comparison.metrics), style), "")
    for sentence in absent_lines(compared_metrics(comparison.metrics)):
        console.print_parts(sentence)
    if comparison.categories:
        rows = category_rows(comparison.categories)
        console.print_parts(render(CATEGORY_COLUMNS, rows, style), "")
        if comparison.few is not None:
            console.print_parts(comparison.few, "")
    if comparison.facts:
        console.print_parts(
            render(("what differs", "first", "second"), comparison.facts, style), ""
        )
    compared = "predictions"
    if comparison.maps_of_one is not None:
        compared = "objects"
        console.print_parts(
            f"only the {comparison.maps_of_one} run has maps of segments: they are not compared"
        )
    if comparison.first_differing is None:
        console.print_parts(f"the {compared} of both runs are the same")
        return
    worst = ", ".join(f"{image} ({count})" for image, count in comparison.images)
    console.print_parts(
        f"{counted(comparison.differing_images, 'image differs', 'images differ')}, the first is "
        f"{comparison.first_differing}; most predictions changed in: {worst}"
    )
