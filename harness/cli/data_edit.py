"""``harness data clean``, ``split``, ``merge`` and ``subset``."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli import console
from harness.cli.data_convert import words
from harness.cli.options import add_answer_options, request_from
from harness.core.requests.data import (
    SAME_NAMES,
    CleanRequest,
    MergeRequest,
    SplitRequest,
    SubsetRequest,
)

if TYPE_CHECKING:
    from harness.workflows.datasets.edit import EditReport


def add_action(actions: Any, name: str) -> None:
    """The options of the action's request."""
    adding = {"clean": _add_clean, "split": _add_split, "merge": _add_merge, "subset": _add_subset}
    add_answer_options(adding[name](actions))


def _add_clean(actions: Any) -> Any:
    parser = actions.add_parser("clean", help="put right what is wrong, or leave it out")
    parser.add_argument("file", type=Path, help="COCO annotation file, however odd")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    parser.add_argument("--images", type=Path, help="folder of its images: every one is looked at")
    parser.add_argument(
        "--same-names", choices=SAME_NAMES, default="keep", help="categories that share a name"
    )
    parser.add_argument("--renumber", action="store_true", help="category ids 1, 2, 3, …")
    parser.add_argument(
        "--keep-boxes", action="store_true", help="keep objects without a mask among others"
    )
    return parser


def _add_split(actions: Any) -> Any:
    parser = actions.add_parser("split", help="deal the images out, every category evenly")
    parser.add_argument("file", type=Path, help="COCO annotation file")
    parser.add_argument(
        "--fractions", type=_numbers, default=(0.8, 0.2), metavar="A,B", help="default: 0.8,0.2"
    )
    parser.add_argument(
        "--names", type=words, default=(), metavar="A,B", help="default: train,val,test"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="folder of the parts; default: the file's own")
    return parser


def _add_merge(actions: Any) -> Any:
    parser = actions.add_parser("merge", help="several annotation files as one")
    parser.add_argument("files", type=Path, nargs="+", help="COCO annotation files")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    parser.add_argument(
        "--folders",
        type=Path,
        nargs="+",
        default=(),
        help="folder of each file's images; default: one folder has them all",
    )
    return parser


def _add_subset(actions: Any) -> Any:
    parser = actions.add_parser("subset", help="some categories, some images")
    parser.add_argument("file", type=Path, help="COCO annotation file")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    parser.add_argument("--categories", type=words, default=(), metavar="A,B", help="default: all")
    parser.add_argument(
        "--images", dest="image_count", type=int, metavar="N", help="random ones; default: all"
    )
    parser.add_argument("--seed", type=int, default=0)
    return parser


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(",") if word.strip())
    except ValueError:
        told = f"expected numbers with commas between them, such as 0.8,0.2, got {text}"
        raise argparse.ArgumentTypeError(told) from None


def run(arguments: argparse.Namespace) -> int:
    """Do it, and print what came out."""
    from harness.workflows.datasets import edit

    match arguments.action:
        case "clean":
            request = request_from(CleanRequest, arguments)
            report = edit.clean(request, console.TerminalProgress())
        case "split":
            report = edit.split_file(request_from(SplitRequest, arguments))
        case "merge":
            arguments.files, arguments.folders = tuple(arguments.files), tuple(arguments.folders)
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
