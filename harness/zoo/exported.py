"""What an exported ONNX file says about itself, and whether it is still as it was exported.

An ONNX file is one protobuf message. Ours is its graph followed by its metadata, so that the
metadata can name the hash of everything before it: a file that was quantised, simplified or edited
since is distinguished from the exported one without any package that understands graphs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import IO, Any

from harness.core.architecture import Architecture
from harness.core.dataset import Category
from harness.core.errors import IntegrityError, PrerequisiteError
from harness.core.model import ModelEntry
from harness.core.record import CheckpointFacts
from harness.files.json import dumps, to_plain, to_typed
from harness.zoo.checkpoints import facts_of_file

#: Numbers of the architecture that the graph does not hold: what is done before and after it.
OUTSIDE_THE_GRAPH = ("channel_order", "short_edge_px", "long_edge_max_px", "mask_threshold")

#: Field numbers of ``onnx.proto``: ModelProto.metadata_props, StringStringEntryProto.key, .value.
METADATA_FIELD, KEY_FIELD, VALUE_FIELD = 14, 1, 2

EXPORT_AGAIN = "run: harness export --model {model} --output FILE"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFacts:
    """The metadata of an exported file; every field is one key, its value JSON unless it is text.

    model: the model entry. class_names: by class index, empty where they were not known.
    checkpoint_sha256: of the weights it was made from; checkpoint_pinned: they are the ones the
    lock names. graph_bytes, graph_sha256: of everything before the metadata.
    """

    harness_version: str
    model: str
    architecture: Architecture
    class_names: tuple[str, ...]
    checkpoint_sha256: str
    checkpoint_pinned: bool
    graph_bytes: int
    graph_sha256: str


def metadata_of(facts: ExportFacts) -> dict[str, str]:
    """The facts as an ONNX file keeps them, text by key."""
    plain = to_plain(facts)
    return {key: value if isinstance(value, str) else dumps(value) for key, value in plain.items()}


def read_facts(path: Path) -> ExportFacts:
    """The facts of an exported file; IntegrityError where they are not there, or not whole."""
    with path.open("rb") as file:
        try:
            found = dict(_metadata(file, path.stat().st_size))
        except (EOFError, UnicodeDecodeError):
            found = {}
    missing = [field.name for field in fields(ExportFacts) if field.name not in found]
    if missing:
        raise IntegrityError(
            f"{path} is no ONNX file of harness: its metadata lacks "
            + ("everything" if not found else ", ".join(missing)),
            hint=EXPORT_AGAIN.format(model="NAME"),
        )
    plain = {
        field.name: found[field.name] if field.type == "str" else _parsed(found[field.name])
        for field in fields(ExportFacts)
    }
    return to_typed(ExportFacts, plain, where=f"the metadata of {path}")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text  # to_typed says what is wrong with it


def is_as_exported(path: Path, facts: ExportFacts) -> bool:
    """Whether the graph, weights included, still has the bytes it was exported with."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for start in range(0, facts.graph_bytes, 1 << 20):
            digest.update(file.read(min(1 << 20, facts.graph_bytes - start)))
    return digest.hexdigest() == facts.graph_sha256


def proven_export(
    entry: ModelEntry,
    architecture: Architecture,
    weights: Path | None,
    root: Path,
    *,
    categories: Sequence[Category],
) -> tuple[Path, CheckpointFacts, ExportFacts]:
    """The exported file of ``entry`` to compute with, proven to hold what is asked.

    categories: of the data set it meets, which its classes are matched to by order. It counts as
    the pinned checkpoint if it was made from that and has not changed since.
    """
    path = find_exported(entry, weights, root)
    facts = read_facts(path)
    require_match(facts, architecture, path=path, model=entry.name)
    _require_order(facts, [category.name for category in categories], path=path)
    pinned = facts.checkpoint_pinned and is_as_exported(path, facts)
    return path, replace(facts_of_file(path), pinned=pinned), facts


def find_exported(entry: ModelEntry, weights: Path | None, root: Path) -> Path:
    """The ONNX file to use: ``weights``, or the one ``harness export`` writes by default."""
    path = weights or default_file(entry.name, root)
    if not path.is_file():
        raise PrerequisiteError(
            f"{entry.name} is not exported: no {path}",
            hint=f"run: harness export --model {entry.name} --root {root}, "
            "or give an exported file with --weights",
        )
    return path


def default_file(model: str, root: Path) -> Path:
    """Where ``harness export`` writes by default."""
    return root / "exported" / f"{model}.onnx"


def require_match(
    facts: ExportFacts, asked: Architecture, *, path: Path, model: str | None = None
) -> None:
    """Raise IntegrityError unless the graph in ``path`` is of this architecture and recipe.

    model: the entry it must be of, None for any.
    """
    held, wanted = to_plain(facts.architecture), to_plain(asked)
    differing = [
        f"  {name}: asked {wanted[name]}, in the file {held[name]}"
        for name in wanted
        if name not in OUTSIDE_THE_GRAPH and wanted[name] != held[name]
    ]
    if model is not None and facts.model != model:
        differing.insert(0, f"  model: asked {model}, in the file {facts.model}")
    if differing:
        raise IntegrityError(
            f"{path} holds another network than was asked for:\n" + "\n".join(differing),
            hint="these are part of the graph: name the model the file was exported from, with the "
            f"same test recipe, or {EXPORT_AGAIN.format(model=model or facts.model)}",
        )


def _require_order(facts: ExportFacts, names: Sequence[str], *, path: Path) -> None:
    """Raise IntegrityError for the file's classes in another order; other names may be meant."""
    if sorted(names) != sorted(facts.class_names) or tuple(names) == facts.class_names:
        return
    first = next(
        f"class {index} is {ours} in the file and {theirs} in the data set"
        for index, (ours, theirs) in enumerate(zip(facts.class_names, names, strict=True))
        if ours != theirs
    )
    raise IntegrityError(
        f"{path} has the classes of the data set in another order: {first}",
        hint="give the categories the ids, in ascending order, that the network was trained with",
    )


def _metadata(file: IO[bytes], size: int) -> Iterator[tuple[str, str]]:
    """Key and value of each metadata entry of a whole ONNX file; the rest is skipped."""
    while file.tell() < size:
        number, length = _field(file)
        if number == METADATA_FIELD:
            end = file.tell() + length
            entry = {KEY_FIELD: "", VALUE_FIELD: ""}
            while file.tell() < end:
                part, part_length = _field(file)
                entry[part] = file.read(part_length).decode()
            yield entry[KEY_FIELD], entry[VALUE_FIELD]
        else:
            file.seek(length, 1)


def _field(file: IO[bytes]) -> tuple[int, int]:
    """Number of the next field, and how many bytes of content follow; none after a varint."""
    tag = _varint(file)
    match tag & 7:
        case 0:
            _varint(file)
            return tag >> 3, 0
        case 1:
            return tag >> 3, 8
        case 2:
            return tag >> 3, _varint(file)
        case 5:
            return tag >> 3, 4
        case _:
            raise EOFError  # no protobuf message


def _varint(file: IO[bytes]) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise EOFError
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise EOFError
