"""``harness analyze``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from harness.cli import console
from harness.cli.options import add_output_settings, settings_from
from harness.core.requests.queries import RecordOptions
from harness.core.requests.reports import AnalyzeRequest

if TYPE_CHECKING:
    from harness.workflows.evaluation.analyze import Analysis


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of AnalyzeRequest."""
    add_output_settings(parser, AnalyzeRequest, RecordOptions)


def run(arguments: argparse.Namespace) -> int:
    """Analyze, and print; return 0: an error of a model is no failure of the program."""
    from harness import api

    found = api.analyze(
        **settings_from(AnalyzeRequest, arguments), progress=console.progress_of(arguments)
    )
    if arguments.json:
        console.print_json(found)
    else:
        _print(found, arguments)
    return 0


def _print(found: Analysis, arguments: argparse.Namespace) -> None:
    from harness.report import analysis
    from harness.report.tables import decimal, render

    style = arguments.format or console.default_format()
    for sentence in found.dataset.warnings:
        console.progress_of(arguments).notice(f"data: {sentence}")
    for task in found.tasks:
        console.print_parts(f"what errors cost, {analysis.task_word(task.task)}")
        console.print_parts(render(*analysis.error_rows(task.errors), style), "")
        columns, rows = analysis.confusion_rows(task.confusions, found.categories)
        if rows:
            console.print_parts(render(columns, rows, style), "")
        if arguments.per_category:
            table = analysis.threshold_rows(task.thresholds, found.categories)
            console.print_parts(render(*table, style), "")
    if found.tasks:
        console.print_parts(render(*analysis.iou_rows(found.tasks), style), "")
    else:
        console.print_parts("no boxes or masks: errors, curves and thresholds are of those")
    boundary = [
        (name, decimal(value))
        for name, value in found.metrics.items()
        if name.startswith("boundary/")
    ]
    if boundary:
        console.print_parts(render(("metric", "measured"), boundary, style), "")
    for task in found.tasks:
        for sentence in analysis.sentences_of(task, found.threshold):
            console.print_parts(sentence)
