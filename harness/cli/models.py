"""``harness models``: the lock as a table. Reads JSON only, so that it answers at once."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.cli import console
from harness.cli.options import add_answered_settings
from harness.core.requests.asking import ModelsRequest
from harness.files.json import read
from harness.files.layout import find_lock

COLUMNS = ("model", "schedule", "box AP", "mask AP", "V100 s/img", "size", "on disk")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to look for checkpoints."""
    add_answered_settings(parser, ModelsRequest)


def run(arguments: argparse.Namespace) -> int:
    """Print the model entries; a lock is validated, which takes longer, if it cannot be shown."""
    lock, root = read(find_lock()), arguments.root
    try:
        artefacts = {artefact["name"]: artefact for artefact in lock["artefacts"]}
        rows = [_row(model, artefacts, root) for model in lock["models"]]
    except (KeyError, TypeError):
        from harness.zoo.lock import read_lock

        read_lock()  # says what is wrong
        raise
    if arguments.json:
        console.answer_json(
            [{**model, "on_disk": _on_disk(model, artefacts, root)} for model in lock["models"]]
        )
        return 0
    from harness.report.tables import render

    console.answer(render(COLUMNS, rows, arguments.format or console.default_format()))
    return 0


def _row(model: dict[str, Any], artefacts: dict[str, Any], root: Path) -> tuple[str, ...]:
    recipe = model["recipe"] or {}
    return (
        model["name"],
        recipe.get("schedule", "–"),
        _reference(model, "bbox/AP"),
        _reference(model, "segm/AP"),
        _reference(model, "s_per_image"),
        _size(model, artefacts, root),
        _on_disk(model, artefacts, root),
    )


def _reference(model: dict[str, Any], metric: str) -> str:
    for reference in model["references"]:
        if reference["metric"] == metric and reference["role"] != "independent":
            return str(reference["value"])
    return "–"


def _size(model: dict[str, Any], artefacts: dict[str, Any], root: Path) -> str:
    """Of the checkpoint: as pinned, else as found on disk; unknown until it was fetched."""
    if model["checkpoint"] is None:
        embedded = model.get("embedded")
        return "–" if embedded is None else f"{embedded['bytes'] / 1e6:,.0f} MB"
    artefact = artefacts[model["checkpoint"]]
    path = root / artefact["path"]
    size = artefact["bytes"] or (path.stat().st_size if path.is_file() else None)
    return "?" if size is None else f"{size / 1e6:,.0f} MB"


def _on_disk(model: dict[str, Any], artefacts: dict[str, Any], root: Path) -> str:
    if model["checkpoint"] is None:
        return "none" if model.get("embedded") is None else "embedded"
    return "yes" if (root / artefacts[model["checkpoint"]]["path"]).is_file() else "no"
