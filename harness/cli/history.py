"""``harness history``."""

from __future__ import annotations

import argparse

from harness.cli import console
from harness.cli.options import add_output_settings
from harness.core.requests.queries import HistoryRequest

COLUMNS = ("cell", "metric", "last", "nights", "trend", "drift")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of HistoryRequest."""
    add_output_settings(parser, HistoryRequest)


def run(arguments: argparse.Namespace) -> int:
    """Print one row a cell and metric, with its drifts, past ones too; return the exit code."""
    from harness.files.history import read_points
    from harness.report.tables import render
    from harness.report.trends import WATCHED, drifts_of, sparkline, trends_of

    path = arguments.results / "history.sqlite"
    trends = [
        trend
        for trend in trends_of(read_points(path, metrics=WATCHED))
        if arguments.cell is None or arguments.cell in trend.cell
    ]
    if arguments.json:
        console.print_json(trends)
        return 0
    rows = [
        (
            trend.cell,
            trend.metric,
            f"{trend.values[-1]:.4g}",
            str(len(trend.values)),
            sparkline(trend.values),
            drifts_of(trend) or "–",
        )
        for trend in trends
    ]
    console.print_parts(render(COLUMNS, rows, arguments.format or console.default_format()))
    return 0
