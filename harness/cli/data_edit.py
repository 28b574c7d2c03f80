"""``harness data clean``, ``split``, ``merge`` and ``subset``."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING, Any

from harness.cli import console
from harness.cli.options import add_answered_settings, request_from
from harness.core.requests.data import (
    CleanRequest,
    MergeRequest,
    SplitRequest,
    SubsetRequest,
)

if TYPE_CHECKING:
    from harness.workflows.datasets.edit import EditReport


#: Action → its request, and one line of help.
EDITS: dict[str, tuple[type[Any], str]] = {
    "clean": (CleanRequest, "correct errors, or leave the objects out"),
    "split": (SplitRequest, "split the images, every category evenly"),
    "merge": (MergeRequest, "several annotation files as one"),
    "subset": (SubsetRequest, "some categories, some images"),
}


def add_action(actions: Any, name: str) -> None:
    """Add the action with the settings of its request.

    Args:
        actions: The parser's sub-commands, of argparse.
        name: Of the action, a key of EDITS.
    """
    request, help_line = EDITS[name]
    add_answered_settings(actions.add_parser(name, help=help_line), request)


def run(arguments: argparse.Namespace) -> int:
    """Edit, and print what was written; return the exit code."""
    from harness.workflows.datasets import edit

    match arguments.action:
        case "clean":
            request = request_from(CleanRequest, arguments)
            report = edit.clean(request, console.progress_of(arguments))
        case "split":
            report = edit.split_file(request_from(SplitRequest, arguments))
        case "merge":
            report = edit.merge(request_from(MergeRequest, arguments))
        case _:
            report = edit.subset_file(request_from(SubsetRequest, arguments))
    if arguments.json:
        console.answer_json(report)
    else:
        _print(report, arguments)
    return 0


def _print(report: EditReport, arguments: argparse.Namespace) -> None:
    """A column a written file, then what was left out, then the sums."""
    from harness.report.data import left_out_rows, written_rows
    from harness.report.tables import render

    style = arguments.format or console.default_format()
    columns, rows = written_rows(report.written)
    console.answer(render(columns, rows, style), "")
    columns, rows = left_out_rows(report.dropped_images, report.dropped_objects, report.notes)
    if rows:
        console.answer(render(columns, rows, style), "")
    before = f"{report.image_count:,} images, {report.object_count:,} objects"
    for one in report.written:
        console.answer(
            f"{before} → {one.image_count:,} images, {one.object_count:,} objects: {one.path}"
        )
    if report.images is not None:
        console.answer(f"images: {shlex.quote(str(report.images))}")
