"""``harness data``: your own annotations converted, checked, cleaned, split and joined."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.cli import console
from harness.cli.options import add_output_settings, request_from, settings_from
from harness.core.requests.data import (
    FORMATS,
    CheckRequest,
    CleanRequest,
    ConvertRequest,
    MergeRequest,
    OpenImagesRequest,
    SplitRequest,
    SubsetRequest,
)

if TYPE_CHECKING:
    from harness.report.data import HasCounts, Table
    from harness.workflows.datasets.check import DataReport
    from harness.workflows.datasets.convert import ConvertReport
    from harness.workflows.datasets.edit import EditReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions, each with the settings of its request."""
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    for name, action in ACTIONS.items():
        add_output_settings(actions.add_parser(name, help=action.help_line), action.request)


def run(arguments: argparse.Namespace) -> int:
    """Run the action and print its result; return the exit code.

    Raises:
        HarnessError: A file cannot be used at all.
    """
    ACTIONS[arguments.action].run(arguments)
    return 0


def _convert(arguments: argparse.Namespace) -> None:
    """Convert, and print the report."""
    from harness import api

    report = api.convert(
        **settings_from(ConvertRequest, arguments), progress=console.progress_of(arguments)
    )
    if arguments.json:
        console.print_json(report)
    else:
        _print_conversion(report, arguments)


def _openimages(arguments: argparse.Namespace) -> None:
    """Fetch, convert, and print the report."""
    from harness.files.fetch import FetchOptions
    from harness.workflows.datasets.openimages import fetch_openimages
    from harness.zoo.openimages import known_files

    report = fetch_openimages(
        request_from(OpenImagesRequest, arguments),
        FetchOptions(progress=console.progress_of(arguments), jobs=arguments.jobs),
        known_files(),
    )
    if arguments.json:
        console.print_json(report)
    else:
        _print_conversion(report, arguments)


def _print_conversion(report: ConvertReport, arguments: argparse.Namespace) -> None:
    """Print a row a category, then what was left out and why, then the next command."""
    from harness.report.data import category_rows

    _print_tables(category_rows(report.categories), report, arguments)
    console.print_parts(
        f"{report.source_format}: {report.image_count:,} images, {report.object_count:,} objects "
        f"→ {report.output}"
    )
    images = "" if report.images is None else f" --images {shlex.quote(str(report.images))}"
    only = " --boxes-only" if _of_boxes_alone(report.categories) else ""
    console.print_parts(f"next: harness data check {shlex.quote(str(report.output))}{images}{only}")


def _check(arguments: argparse.Namespace) -> None:
    """Print the findings."""
    from harness.workflows.datasets.check import check_data

    report = check_data(
        arguments.file,
        arguments.images,
        with_masks=not arguments.boxes_only,
        decode=arguments.decode,
        panoptic=arguments.panoptic,
        panoptic_masks=arguments.panoptic_masks,
        progress=console.progress_of(arguments),
    )
    if arguments.json:
        console.print_json(report)
    else:
        _print_check(report, arguments)


def _print_check(report: DataReport, arguments: argparse.Namespace) -> None:
    from harness.report.data import SHOWN_CATEGORIES
    from harness.report.tables import render

    rows = [
        (str(one.category_id), one.name, str(one.annotations), str(one.learnable))
        for one in report.categories[:SHOWN_CATEGORIES]
    ]
    columns = ("id", "category", "annotations", "to learn from")
    console.print_parts(render(columns, rows, arguments.format or console.default_format()), "")
    if len(report.categories) > SHOWN_CATEGORIES:
        hidden = len(report.categories) - SHOWN_CATEGORIES
        console.print_parts(f"… and {hidden} more categories (--json)")
    console.print_parts(
        f"{report.image_count:,} images, {report.annotation_count:,} annotations; "
        f"{report.learnable_images:,} images with {report.learnable_objects:,} objects to learn "
        "from"
    )
    if report.keypoint_count:
        console.print_parts(
            f"{report.keypoint_count} keypoints an object; {report.labelled_objects:,} of the "
            "objects to learn from have a labelled one"
        )
    notes = list(report.warnings)
    if (maps := report.panoptic) is not None:
        console.print_parts(
            f"{maps.map_count:,} maps with {maps.segment_count:,} segments of {maps.thing_count} "
            f"kinds of objects and {maps.stuff_count} of stuff; every PNG was read"
        )
        notes += maps.warnings
    for sentence in (*notes, *(f"left out: {one}" for one in report.left_out)):
        console.print_parts(f"note: {sentence}")
    checked = "every image is there and of its listed size"
    if report.images_decoded:
        checked += ", and was decoded"
    elif report.images_checked:
        checked += " (headers were read; --decode finds damaged pixels)"
    console.print_parts(f"OK: {checked}" if report.images_checked else "OK (images not checked)")


def _edit(arguments: argparse.Namespace) -> None:
    """Edit, and print what was written."""
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
        console.print_json(report)
    else:
        _print_edit(report, arguments)


def _print_tables(
    counts: Table, report: ConvertReport | EditReport, arguments: argparse.Namespace
) -> None:
    """Print what was written, then what was left out and why."""
    from harness.report.data import left_out_rows
    from harness.report.tables import render

    style = arguments.format or console.default_format()
    console.print_parts(render(*counts, style), "")
    columns, rows = left_out_rows(report.dropped_images, report.dropped_objects, report.notes)
    if rows:
        console.print_parts(render(columns, rows, style), "")


def _print_edit(report: EditReport, arguments: argparse.Namespace) -> None:
    """A column a written file, then what was left out, then the sums."""
    from harness.report.data import written_rows

    _print_tables(written_rows(report.written), report, arguments)
    before = f"{report.image_count:,} images, {report.object_count:,} objects"
    for one in report.written:
        console.print_parts(
            f"{before} → {one.image_count:,} images, {one.object_count:,} objects: {one.path}"
        )
    if report.images is not None:
        console.print_parts(f"images: {shlex.quote(str(report.images))}")
    console.print_parts(f"next: {_next_command(report, arguments)}")


def _next_command(report: EditReport, arguments: argparse.Namespace) -> str:
    """What usually follows: a training on the parts of a split, else a check."""
    given = arguments.images if arguments.action == "clean" else report.images
    images = "DIR" if given is None else shlex.quote(str(given))
    paths = [shlex.quote(str(one.path)) for one in report.written]
    of_boxes = _of_boxes_alone(one for part in report.written for one in part.categories)
    if len(paths) == 1:
        return f"harness data check {paths[0]} --images {images}{' --boxes-only' * of_boxes}"
    model = "faster_rcnn_R_50_FPN_3x" if of_boxes else "R_50_FPN_3x"
    return (
        f"harness train --model {model} --init zoo --train-annotations {paths[0]} "
        f"--train-images {images} --val-annotations {paths[1]} --val-images {images}"
    )


def _of_boxes_alone(categories: Iterable[HasCounts]) -> bool:
    """Whether no object has a mask: a network with masks learns nothing from them."""
    return all(one.objects == one.boxes for one in categories)


class _Action(NamedTuple):
    """A second word of the command."""

    request: type[Any]
    """Has its settings."""

    help_line: str
    """One line of help."""

    run: Callable[[argparse.Namespace], None]
    """Runs it, and prints its result."""


ACTIONS = {
    "convert": _Action(
        ConvertRequest, f"{', '.join(FORMATS)} → one COCO annotation file", _convert
    ),
    "check": _Action(CheckRequest, "report how training and scoring read a data set", _check),
    "clean": _Action(CleanRequest, "correct errors, or leave the objects out", _edit),
    "split": _Action(SplitRequest, "split the images, every category evenly", _edit),
    "merge": _Action(MergeRequest, "several annotation files as one", _edit),
    "subset": _Action(SubsetRequest, "some categories, some images", _edit),
    "openimages": _Action(
        OpenImagesRequest, "fetch classes of Open Images with their masks", _openimages
    ),
}
