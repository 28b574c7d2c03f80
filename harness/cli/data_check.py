"""``harness data check``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from harness.cli import console
from harness.cli.options import add_answered_settings
from harness.core.requests.data import CheckRequest

if TYPE_CHECKING:
    from harness.workflows.datasets.check import DataReport

#: Categories shown in the table; --json has all of them.
SHOWN_CATEGORIES = 100


def add_action(actions: Any, name: str) -> None:
    """Add the action with the settings of its request.

    Args:
        actions: The parser's sub-commands, of argparse.
        name: Of the action.
    """
    check = actions.add_parser(name, help="report how training and scoring read a data set")
    add_answered_settings(check, CheckRequest)


def run(arguments: argparse.Namespace) -> int:
    """Print the findings; return the exit code.

    Raises:
        HarnessError: The file cannot be used at all.
    """
    from harness.workflows.datasets.check import check_data

    report = check_data(
        arguments.file,
        arguments.images,
        with_masks=not arguments.boxes_only,
        progress=console.progress_of(arguments),
    )
    if arguments.json:
        console.answer_json(report)
    else:
        _print(report, arguments)
    return 0


def _print(report: DataReport, arguments: argparse.Namespace) -> None:
    from harness.report.tables import render

    rows = [
        (str(one.category_id), one.name, str(one.annotations), str(one.learnable))
        for one in report.categories[:SHOWN_CATEGORIES]
    ]
    columns = ("id", "category", "annotations", "to learn from")
    console.answer(render(columns, rows, arguments.format or console.default_format()), "")
    if len(report.categories) > SHOWN_CATEGORIES:
        hidden = len(report.categories) - SHOWN_CATEGORIES
        console.answer(f"… and {hidden} more categories (--json)")
    console.answer(
        f"{report.image_count:,} images, {report.annotation_count:,} annotations; "
        f"{report.learnable_images:,} images with {report.learnable_objects:,} objects to learn "
        "from"
    )
    if report.keypoint_count:
        console.answer(
            f"{report.keypoint_count} keypoints an object; {report.labelled_objects:,} of the "
            "objects to learn from have a labelled one"
        )
    for sentence in (*report.warnings, *(f"left out: {one}" for one in report.left_out)):
        console.answer(f"note: {sentence}")
    checked = "every image is there and of its listed size"
    console.answer(f"OK: {checked}" if report.images_checked else "OK (images not looked at)")
