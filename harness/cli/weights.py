"""``harness weights check | convert | seeded``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.cli import console
from harness.cli.options import add_settings, settings_from
from harness.core.requests.queries import JsonOutput
from harness.core.requests.zoo import (
    CheckWeightsRequest,
    ConvertWeightsRequest,
    SeededWeightsRequest,
)

#: Action → its line of help, then what its settings are.
ACTIONS: dict[str, tuple[str, tuple[type[Any], ...]]] = {
    "check": ("read a checkpoint and account for every tensor", (CheckWeightsRequest, JsonOutput)),
    "convert": ("rewrite a checkpoint, for instance to safetensors", (ConvertWeightsRequest,)),
    "seeded": ("write calibrated random weights of a model", (SeededWeightsRequest,)),
}

#: What is said of a file in the zoo's layout, made of weights that know their training.
NO_PLACE = (
    "a .pkl has no place for the classes and the size of images of the training: give them with "
    "--annotations and --short-edge"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one sub-command each for proving, converting and generating a checkpoint."""
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    for name, (text, requests) in ACTIONS.items():
        add_settings(actions.add_parser(name, help=text), *requests)


def run(arguments: argparse.Namespace) -> int:
    """Run the action; return the exit code."""
    match arguments.action:
        case "check":
            _check(arguments)
        case "convert":
            _convert(arguments.file, arguments.output)
        case "seeded":
            _seed(arguments.model, arguments.output, arguments.seed)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    from harness.api import check_weights

    found = check_weights(**settings_from(CheckWeightsRequest, arguments))
    if arguments.json:
        console.print_json(found)
        return
    pinned = ", ".join(found.pinned)
    console.print_parts(
        f"{found.file} fits {', '.join(found.models)}: {found.tensors} tensors, "
        f"{found.numbers:,} numbers",
        f"sha256 {found.sha256}",
        f"the pinned checkpoint of {pinned}" if pinned else "not a pinned checkpoint",
        *found.notes,
    )


def _convert(file: Path, output: Path) -> None:
    from harness.files.safetensors_header import statement_text
    from harness.zoo.weights import open_checkpoint, write_checkpoint

    checkpoint = open_checkpoint(file)
    statement = statement_text(file)
    write_checkpoint(output, checkpoint.tensors, statement)
    lost = statement is not None and output.suffix == ".pkl"
    console.print_parts(f"wrote {output}", *checkpoint.notes, *([NO_PLACE] if lost else []))


def _seed(model: str, output: Path, seed: int | None) -> None:
    from harness.zoo.architectures import architecture_of
    from harness.zoo.lock import find_model, read_lock
    from harness.zoo.seeded import DEFAULT_SEED, seeded_checkpoint
    from harness.zoo.weights import write_checkpoint

    entry = find_model(read_lock(), model)
    tensors = seeded_checkpoint(
        architecture_of(entry.architecture), DEFAULT_SEED if seed is None else seed
    )
    write_checkpoint(output, tensors)
    console.print_parts(f"wrote {output}: seeded weights of {entry.name}, {len(tensors)} tensors")
