"""``harness data convert``."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli import console
from harness.cli.options import add_answer_options, request_from
from harness.core.requests.data import FORMATS, ConvertRequest

if TYPE_CHECKING:
    from harness.workflows.datasets.convert import ConvertReport


def add_action(actions: Any, name: str) -> None:
    """The options of ConvertRequest."""
    convert = actions.add_parser(name, help=f"{', '.join(FORMATS)} → one COCO annotation file")
    convert.add_argument("source", type=Path, help="file or folder of annotations")
    convert.add_argument("--output", type=Path, required=True, help="COCO file to write")
    convert.add_argument(
        "--from",
        dest="source_format",
        choices=FORMATS,
        help="what the annotations are; default: told from what lies there",
    )
    convert.add_argument(
        "--images", type=Path, help="folder of the images; default: beside the annotations"
    )
    convert.add_argument(
        "--categories",
        type=words,
        default=(),
        metavar="A,B,C",
        help="only these, with ids in this order; default: all, by name",
    )
    convert.add_argument(
        "--boxes-as-masks", action="store_true", help="a box stands for the pixels it encloses"
    )
    convert.add_argument("--annotator", help="whose annotations of Label Studio are taken")
    convert.add_argument("--part", help="of YOLO or VOC: train, val, …; default: all")
    convert.add_argument(
        "--encoding", help="of text files in neither UTF-8 nor UTF-16: gbk, big5, shift_jis, …"
    )
    add_answer_options(convert)


def words(text: str) -> tuple[str, ...]:
    """Names that commas separate; a name may hold spaces."""
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def run(arguments: argparse.Namespace) -> int:
    """Convert, and print what became of everything."""
    from harness.workflows.datasets.convert import convert

    report = convert(request_from(ConvertRequest, arguments), console.TerminalProgress())
    if arguments.json:
        console.answer_json(report)
    else:
        print_report(report, arguments)
    return 0


def print_report(report: ConvertReport, arguments: argparse.Namespace) -> None:
    """A row a category, then what was left out and why, then the next command."""
    from harness.report.data import category_rows, left_out_rows
    from harness.report.tables import render

    style = arguments.format or console.default_format()
    columns, rows = category_rows(report.categories)
    console.answer(render(columns, rows, style), "")
    columns, rows = left_out_rows(report.dropped_images, report.dropped_objects, report.notes)
    if rows:
        console.answer(render(columns, rows, style), "")
    console.answer(
        f"{report.source_format}: {report.image_count:,} images, {report.object_count:,} objects "
        f"→ {report.output}"
    )
    images = "" if report.images is None else f" --images {shlex.quote(str(report.images))}"
    console.answer(f"next: harness data check {shlex.quote(str(report.output))}{images}")
