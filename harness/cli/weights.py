"""``harness weights check | convert | seeded``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.cli import console
from harness.cli.options import add_settings
from harness.core.model import ModelEntry
from harness.core.requests.zoo import (
    CheckWeightsRequest,
    ConvertWeightsRequest,
    SeededWeightsRequest,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one sub-command each for proving, converting and generating a checkpoint."""
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    check = actions.add_parser("check", help="read a checkpoint and account for every tensor")
    add_settings(check, CheckWeightsRequest)
    convert = actions.add_parser(
        "convert", help="rewrite a checkpoint, for instance to safetensors"
    )
    add_settings(convert, ConvertWeightsRequest)
    seeded = actions.add_parser("seeded", help="write calibrated random weights of a model")
    add_settings(seeded, SeededWeightsRequest)


def run(arguments: argparse.Namespace) -> int:
    """Run the action; return the exit code."""
    match arguments.action:
        case "check":
            _check(arguments.file, arguments.model, arguments.annotations)
        case "convert":
            _convert(arguments.file, arguments.output)
        case "seeded":
            _seed(arguments.model, arguments.output, arguments.seed)
    return 0


def _check(file: Path, model: str | None, annotations: Path | None) -> None:
    from harness.zoo.architectures import is_known
    from harness.zoo.checkpoints import facts_of
    from harness.zoo.lock import find_model, read_lock
    from harness.zoo.weights import open_checkpoint

    lock = read_lock()
    entry = None if model is None else find_model(lock, model)
    checkpoint = open_checkpoint(file)
    tensors = checkpoint.tensors
    classes = None if annotations is None else _class_count(annotations)
    if entry is None:
        known = [one for one in lock.models if is_known(one.architecture)]
        entries = _fitting(known, tensors, file, classes)
    else:
        _require_fit(entry, tensors, file, classes)
        entries = [entry]
    facts = {entry.name: facts_of(lock, entry, file) for entry in entries}
    pinned = [name for name, fact in facts.items() if fact.pinned]
    count = sum(tensor.size for tensor in tensors.values())
    console.answer(
        f"{file} fits {', '.join(facts)}: {len(tensors)} tensors, {count:,} numbers",
        f"sha256 {facts[entries[0].name].sha256}",
        f"the pinned checkpoint of {', '.join(pinned)}" if pinned else "not a pinned checkpoint",
        *checkpoint.notes,
    )


def _class_count(annotations: Path) -> int:
    """How many categories an annotation file lists."""
    from harness.data.coco import read_annotations

    return len(read_annotations(annotations)["categories"])


def _fitting(
    entries: Sequence[ModelEntry], tensors: Mapping[str, Any], file: Path, classes: int | None
) -> list[ModelEntry]:
    """The model entries whose tensors these are.

    Args:
        entries: Those that are tried.
        tensors: Of the file.
        file: Names it in messages.
        classes: How many the weights know; None for as many as each entry's own.

    Raises:
        IntegrityError: There is none.
    """
    from harness.core.errors import IntegrityError

    fitting = []
    for entry in entries:
        with suppress(IntegrityError):
            _require_fit(entry, tensors, file, classes)
            fitting.append(entry)
    if not fitting:
        raise IntegrityError(
            f"{file} fits no model entry",
            hint="to see what differs from one: harness weights check FILE --model NAME",
        )
    return fitting


def _require_fit(
    entry: ModelEntry, tensors: Mapping[str, Any], file: Path, classes: int | None
) -> None:
    from dataclasses import replace

    from harness.nn.rcnn import tensor_shapes
    from harness.nn.torchvision_networks import torchvision_shapes
    from harness.zoo.architectures import architecture_of
    from harness.zoo.weights import account_for

    architecture = architecture_of(entry.architecture)
    if classes is None:
        shapes = tensor_shapes(architecture)
    else:
        architecture = replace(architecture, class_count=classes)
        shapes = (
            tensor_shapes(architecture)
            if architecture.torchvision is None
            else torchvision_shapes(architecture, classes + 1)
        )
    account_for(tensors, shapes, where=str(file))


def _convert(file: Path, output: Path) -> None:
    from harness.zoo.weights import open_checkpoint, write_checkpoint

    checkpoint = open_checkpoint(file)
    write_checkpoint(output, checkpoint.tensors)
    console.answer(f"wrote {output}", *checkpoint.notes)


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
    console.answer(f"wrote {output}: seeded weights of {entry.name}, {len(tensors)} tensors")
