"""``harness weights check``: which models a file of weights fits, tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from harness.core.errors import IntegrityError
from harness.core.model import ModelEntry
from harness.core.requests.zoo import CheckWeightsRequest
from harness.data.coco import read_annotations
from harness.data.trained_weights import Statement, learned_from, statement_of
from harness.zoo.architectures import architecture_of, is_known
from harness.zoo.checkpoints import facts_of
from harness.zoo.lock import find_model, read_lock
from harness.zoo.weights import account_for, open_checkpoint

#: Classes of weights that are listed by name.
NAMED = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedWeights:
    """A file of weights of which every tensor is accounted for."""

    file: str
    """Its path."""
    sha256: str
    """Of the file; of a checkpoint in several files, of the list of theirs."""
    bytes: int
    """Of all files together."""
    tensors: int
    """How many tensors it has."""
    numbers: int
    """How many numbers are in them."""
    models: tuple[str, ...]
    """Model entries that it fits, at least one."""
    pinned: tuple[str, ...]
    """Those whose pinned checkpoint it is."""
    notes: tuple[str, ...]
    """What was odd about the file, a sentence each."""


def check_weights(request: CheckWeightsRequest) -> CheckedWeights:
    """Read a checkpoint and account for every tensor of it.

    Raises:
        UsageError: There is no such file or model.
        IntegrityError: The file is damaged, or does not fit; what differs is named.
    """
    lock = read_lock()
    entry = None if request.model is None else find_model(lock, request.model)
    checkpoint = open_checkpoint(request.file)
    tensors, where = checkpoint.tensors, str(request.file)
    said = statement_of(request.file)
    classes = _class_count(request, said)
    if entry is None:
        known = [one for one in lock.models if is_known(one.architecture)]
        fitting = _fitting(known, tensors, where, classes)
    else:
        _require_fit(entry, tensors, where, classes)
        fitting = [entry]
    facts = {one.name: facts_of(lock, one, request.file) for one in fitting}
    of_file = facts[fitting[0].name]
    return CheckedWeights(
        file=where,
        sha256=of_file.sha256,
        bytes=of_file.bytes,
        tensors=len(tensors),
        numbers=sum(tensor.size for tensor in tensors.values()),
        models=tuple(facts),
        pinned=tuple(name for name, one in facts.items() if one.pinned),
        notes=(*checkpoint.notes, *([] if said is None else [_sentence(said)])),
    )


def _class_count(request: CheckWeightsRequest, said: Statement | None) -> int | None:
    """How many classes the weights know; None for as many as each model's own."""
    if request.annotations is None and said is not None:
        return len(said.categories)
    annotations = request.annotations or learned_from(request.file)
    return None if annotations is None else len(read_annotations(annotations)["categories"])


def _sentence(said: Statement) -> str:
    """What the weights say of their training."""
    names = [one.name for one in said.categories]
    listed = ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
    return (
        f"trained by harness as {said.model} on images with a short edge of {said.short_edge_px} "
        f"px; {len(names)} classes: {listed}"
    )


def _fitting(
    entries: Sequence[ModelEntry], tensors: Mapping[str, Any], where: str, classes: int | None
) -> list[ModelEntry]:
    """The model entries whose tensors these are.

    Args:
        entries: Those that are tried.
        tensors: Tensors of the file.
        where: Names the file in messages.
        classes: How many the weights know; None for as many as each entry's own.

    Raises:
        IntegrityError: There is none.
    """
    fitting = []
    for entry in entries:
        with suppress(IntegrityError):
            _require_fit(entry, tensors, where, classes)
            fitting.append(entry)
    if not fitting:
        raise IntegrityError(
            f"{where} fits no model entry",
            hint="to see what differs from one: harness weights check FILE --model NAME",
        )
    return fitting


def _require_fit(
    entry: ModelEntry, tensors: Mapping[str, Any], where: str, classes: int | None
) -> None:
    # Torch, which a file that is refused before does not need.
    from harness.nn.rcnn import tensor_shapes

    architecture = architecture_of(entry.architecture)
    if classes is None:
        shapes = tensor_shapes(architecture)
    elif architecture.torchvision is None:
        shapes = tensor_shapes(replace(architecture, class_count=classes))
    else:
        from harness.nn.torchvision_networks import torchvision_shapes, with_own_masks_only

        fitted = replace(architecture, class_count=classes)
        shapes = torchvision_shapes(fitted, classes + 1)
        tensors = with_own_masks_only(tensors)
    account_for(tensors, shapes, where=where)
