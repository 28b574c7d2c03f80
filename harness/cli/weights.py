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
            _check(arguments.file, arguments.model)
        case "convert":
            _convert(arguments.file, arguments.output)
        case "seeded":
            _seed(arguments.model, arguments.output, arguments.seed)
    return 0


def _check(file: Path, model: str | None) -> None:
    from harness.zoo.checkpoints import facts_of
    from harness.zoo.lock import find_model, read_lock
    from harness.zoo.weights import open_checkpoint

    lock = read_lock()
    entry = None if model is None else find_model(lock, model)
    checkpoint = open_checkpoint(file)
    tensors = checkpoint.tensors
    if entry is None:
        entries = _fitting(lock.models, tensors, file)
    else:
        _require_fit(entry, tensors, file)
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


def _fitting(
    entries: Sequence[ModelEntry], tensors: Mapping[str, Any], file: Path
) -> list[ModelEntry]:
    """The model entries whose tensors these are.

    Raises:
        IntegrityError: There is none.
    """
    from harness.core.errors import IntegrityError

    fitting = []
    for entry in entries:
        with suppress(IntegrityError):
            _require_fit(entry, tensors, file)
            fitting.append(entry)
    if not fitting:
        raise IntegrityError(
            f"{file} fits no model entry",
            hint="to see what differs from one: harness weights check FILE --model NAME",
        )
    return fitting


def _require_fit(entry: ModelEntry, tensors: Mapping[str, Any], file: Path) -> None:
    from harness.nn.rcnn import tensor_shapes
    from harness.zoo.architectures import architecture_of
    from harness.zoo.weights import account_for

    account_for(tensors, tensor_shapes(architecture_of(entry.architecture)), where=str(file))


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
