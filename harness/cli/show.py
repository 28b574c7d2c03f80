"""``harness show``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli import console
from harness.cli.options import (
    add_answer_options,
    add_drawing_options,
    request_from,
    style_from,
)
from harness.core.errors import RunFailedError
from harness.core.requests.pictures import MOST_SHOWN, ShowRequest

if TYPE_CHECKING:
    from harness.workflows.pictures.show import ShowReport

#: Rows of the table of the worst images.
SHOWN_IMAGES = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ShowRequest."""
    what = parser.add_argument_group("what to show")
    what.add_argument(
        "run", nargs="?", type=Path, help="run folder of harness eval, finished or not; or:"
    )
    what.add_argument("--annotations", type=Path, help="COCO annotation file")
    what.add_argument("--images", type=Path, help="folder of its images")
    what.add_argument("--predictions", type=Path, help="COCO results, to be shown beside it")
    what.add_argument(
        "--task", choices=("bbox", "segm"), default="bbox", help="what has to overlap for a hit"
    )
    which = parser.add_argument_group("which images")
    which.add_argument("--sample", type=int, metavar="N", help="N of them at random")
    which.add_argument("--seed", type=int, default=0, help="another one draws others")
    which.add_argument(
        "--image",
        dest="image_ids",
        type=int,
        nargs="+",
        default=(),
        metavar="ID",
        help="these images",
    )
    which.add_argument(
        "--most",
        type=int,
        help=f"draw at most so many, the worst; 0 for all (default: {MOST_SHOWN}, or all that "
        "--sample or --image chose)",
    )
    add_drawing_options(parser)
    parser.add_argument(
        "--output", type=Path, help="folder; default: show in the run, or results/pictures/<name>"
    )
    add_answer_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Draw, and say where the page is."""
    from harness.workflows.pictures.show import show

    request = request_from(
        ShowRequest,
        arguments,
        image_ids=tuple(arguments.image_ids),
        style=style_from(arguments),
    )
    report = show(request, progress=console.TerminalProgress())
    if arguments.json:
        console.answer_json(report)
    else:
        _print(report, arguments)
    if report.unreadable:
        raise RunFailedError(
            f"{len(report.unreadable)} image(s) could not be read; they are named above",
            hint="the others are drawn",
        )
    return 0


def _print(report: ShowReport, arguments: argparse.Namespace) -> None:
    from harness.report.tables import render

    if report.worst:
        rows = [
            (
                str(one.image_id),
                one.file_name,
                str(one.false_negatives),
                str(one.false_positives),
                str(one.true_positives),
            )
            for one in report.worst[:SHOWN_IMAGES]
        ]
        style = arguments.format or console.default_format()
        columns = ("image", "file", "false negatives", "false positives", "true positives")
        console.answer(render(columns, rows, style), "")
    if report.false_positives is None:
        console.answer(f"{report.objects} annotation(s) in {report.images} image(s)")
    else:
        kinds = ", ".join(
            f"{count} {kind}" for kind, count in report.false_positives.items() if count
        )
        console.answer(
            f"{report.true_positives} true positive(s), "
            f"{report.false_negatives} false negative(s), "
            f"{sum(report.false_positives.values())} false positive(s)"
            + (f" ({kinds})" if kinds else "")
            + f" in {report.images} image(s)"
        )
    if report.drawn < report.images:
        console.answer(f"{report.drawn} of them drawn; all: --most 0")
    console.answer(f"pictures: {report.page}")
