"""``harness models``: the lock as a table."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from harness.cli import console
from harness.cli.options import add_answered_settings
from harness.core.requests.asking import ModelsRequest

if TYPE_CHECKING:
    from harness.zoo.listing import ListedModel

COLUMNS = ("model", "schedule", "box AP", "mask AP", "V100 s/img", "size", "on disk")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the folder of checkpoints."""
    add_answered_settings(parser, ModelsRequest)


def run(arguments: argparse.Namespace) -> int:
    """Print the model entries; return the exit code."""
    # What `harness.list_models` calls, without the settings of the API's other functions: this
    # command answers at once.
    from harness.zoo.listing import list_models

    models = list_models(arguments.root)
    if arguments.json:
        console.answer_json([{**one.entry, "on_disk": one.on_disk} for one in models])
        return 0
    from harness.report.tables import render

    rows = [_row(one) for one in models]
    console.answer(render(COLUMNS, rows, arguments.format or console.default_format()))
    return 0


def _row(model: ListedModel) -> tuple[str, ...]:
    numbers = (model.box_ap, model.mask_ap, model.s_per_image)
    return (
        model.name,
        model.schedule or "–",
        *("–" if number is None else str(number) for number in numbers),
        _size(model),
        model.on_disk,
    )


def _size(model: ListedModel) -> str:
    if model.bytes is not None:
        return f"{model.bytes / 1e6:,.0f} MB"
    return "–" if model.on_disk == "none" else "?"
