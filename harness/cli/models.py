"""``harness models``: the lock as tables, one a task."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from harness.cli import console
from harness.cli.options import add_output_settings
from harness.core.requests.queries import ModelsRequest

if TYPE_CHECKING:
    from harness.zoo.listing import ListedModel

#: Columns of every table, and those of its numbers by task.
COLUMNS = ("model", "schedule", "V100 s/img", "size", "on disk")
NUMBERS = {
    "object detection": ("box AP",),
    "instance segmentation": ("box AP", "mask AP"),
    "person keypoints": ("box AP", "keypoint AP"),
    "panoptic segmentation": ("box AP", "mask AP", "PQ"),
    "region proposals": ("AR@1000",),
}

#: Left out where the terminal is narrow: names have the schedule, and few sizes are known.
LEFT_OUT = ("size", "schedule")

#: After the name of a model whose network this version does not have.
NOT_YET = " †"
EXPLAINED = "† this version cannot compute this network yet"

#: A size that no source gives, and what is said of it below the tables.
UNKNOWN = "?"
UNKNOWN_SIZES = f"size {UNKNOWN}: no source states it before the download"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the words and the folder of checkpoints."""
    add_output_settings(parser, ModelsRequest)


def run(arguments: argparse.Namespace) -> int:
    """Print the model entries; return the exit code."""
    from harness import api

    models = api.list_models(*(arguments.contains or ()), root=arguments.root)
    if arguments.json:
        console.print_json(
            [{**one.entry, "on_disk": one.on_disk, "computable": one.computable} for one in models]
        )
        return 0
    from harness.report.tables import render

    style = arguments.format or console.default_format()
    for task, numbers in NUMBERS.items():
        rows = [_row(one, numbers) for one in models if one.task == task]
        if rows:
            columns = (*COLUMNS[:2], *numbers, *COLUMNS[2:])
            console.print_parts(*_heading(task, style), render(columns, rows, style, LEFT_OUT), "")
    if not all(one.computable for one in models):
        console.print_parts(EXPLAINED)
    if any(_size(one) == UNKNOWN for one in models):
        console.print_parts(UNKNOWN_SIZES)
    return 0


def _heading(task: str, style: str) -> tuple[str, ...]:
    title = task.capitalize()
    return (f"## {title}", "") if style == "markdown" else (title, "")


def _row(model: ListedModel, numbers: tuple[str, ...]) -> tuple[str, ...]:
    from harness.report.tables import decimal

    published = {
        "box AP": model.box_ap,
        "mask AP": model.mask_ap,
        "keypoint AP": model.keypoint_ap,
        "PQ": model.pq,
        "AR@1000": model.proposal_ar,
    }
    return (
        model.name + ("" if model.computable else NOT_YET),
        model.schedule or "–",
        *(decimal(published[column], 1) for column in numbers),
        decimal(model.s_per_image, 3),
        _size(model),
        model.on_disk,
    )


def _size(model: ListedModel) -> str:
    if model.bytes is not None:
        return f"{model.bytes / 1e6:,.0f} MB"
    return "–" if model.on_disk == "none" else UNKNOWN
