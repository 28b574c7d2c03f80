"""The metadata of an exported file, and whether the file is still as it was exported.

A ``.pt2`` file has them in a record of its own (``harness.zoo.program_archive``). An ONNX file is
one protobuf message: harness writes the graph followed by its metadata, so that the metadata can
name the hash of everything before it, and a last field where no other program writes it. A file
that was quantised, simplified or edited since is distinguished from the exported one, and from one
that was damaged, without any package that understands graphs.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import IO, Any

from harness.core.architecture import Architecture
from harness.core.dataset import Category
from harness.core.engine import ExportFormat
from harness.core.errors import IntegrityError, PrerequisiteError, UsageError
from harness.core.model import ModelEntry
from harness.core.record import CheckpointFacts
from harness.files.json import dumps, to_plain, to_typed
from harness.zoo.checkpoints import facts_of_file
from harness.zoo.program_archive import ENDING, FACTS, open_archive
from harness.zoo.weights import foreign_content

#: Numbers of the architecture that the graph does not hold: what is done before and after it.
OUTSIDE_THE_GRAPH = ("channel_order", "short_edge_px", "long_edge_max_px", "mask_threshold")

#: Key of the sha256 of all other metadata; files of older versions lack it.
SEAL = "facts_sha256"

#: Field numbers of ``onnx.proto``: ModelProto.metadata_props, StringStringEntryProto.key, .value.
METADATA_FIELD, KEY_FIELD, VALUE_FIELD = 14, 1, 2

#: The last two bytes of an ONNX file as harness writes it: ModelProto.model_version, 0 as where it
#: is missing. Other programs write the fields in the order of their numbers, this one before the
#: graph. What ends so and has another graph was not changed by a program: bytes of it were.
END_OF_OWN = b"\x28\x00"

EXPORT_AGAIN = "run: harness export --model {model} --output FILE"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFacts:
    """The metadata of an exported file; every field is one key, its value JSON unless it is
    text.
    """

    harness_version: str
    """That exported it."""

    model: str
    """Name of the model entry."""

    architecture: Architecture
    """Of the network, with its test recipe."""

    class_names: tuple[str, ...]
    """By class index; empty where they were not known."""

    checkpoint_sha256: str
    """Of the weights it was made from."""

    checkpoint_pinned: bool
    """They are the ones the lock names."""

    graph_bytes: int
    """Length of everything before the metadata."""

    graph_sha256: str
    """Of everything before the metadata."""


def metadata_of(facts: ExportFacts) -> dict[str, str]:
    """The facts as a file keeps them, text by key, with their hash."""
    plain = to_plain(facts)
    texts = {key: one if isinstance(one, str) else dumps(one) for key, one in plain.items()}
    return {**texts, SEAL: _seal_of(texts)}


def _seal_of(texts: Mapping[str, str]) -> str:
    """The sha256 of the metadata, but of what other programs add to them."""
    own = {field.name: texts[field.name] for field in fields(ExportFacts)}
    return hashlib.sha256(dumps(own).encode()).hexdigest()


def read_facts(path: Path) -> ExportFacts:
    """The facts of an exported file.

    Raises:
        IntegrityError: The file has none, or not all of them; it is empty, cut off, or something
            else under this name.
    """
    kind = "a .pt2" if kind_of(path) == "pt2" else "an ONNX"
    found, fault = _read_archive(path) if kind == "a .pt2" else _read_onnx(path)
    missing = [field.name for field in fields(ExportFacts) if field.name not in found]
    if fault is None and missing:
        fault = "its metadata lacks " + ("everything" if not found else ", ".join(missing))
    if fault is not None:
        raise IntegrityError(
            f"{path} is not {kind} file of harness: {fault}",
            hint=EXPORT_AGAIN.format(model="NAME"),
        )
    plain = {
        field.name: found[field.name] if field.type == "str" else _parsed(found[field.name])
        for field in fields(ExportFacts)
    }
    facts = to_typed(ExportFacts, plain, where=f"the metadata of {path}")
    if found.get(SEAL, _seal_of(found)) != _seal_of(found):
        raise IntegrityError(
            f"the metadata of {path} are damaged: their sha256 is another than they state",
            hint=EXPORT_AGAIN.format(model="NAME"),
        )
    return facts


def kind_of(path: Path) -> ExportFormat:
    """The format of an exported file, by its ending."""
    return "pt2" if path.suffix.lower() == ENDING else "onnx"


def _read_onnx(path: Path) -> tuple[dict[str, str], str | None]:
    """Text by key, and what is wrong with the file."""
    with path.open("rb") as file:
        fault = foreign_content(path, file.read(64))
        file.seek(0)
        try:
            return dict(_metadata(file, path.stat().st_size)), fault
        except (EOFError, UnicodeDecodeError):
            return {}, fault or "it is cut off or damaged"


def _read_archive(path: Path) -> tuple[dict[str, str], str | None]:
    """As ``_read_onnx``, of a ``.pt2`` file."""
    with path.open("rb") as file:
        start = file.read(64)
    if not start.startswith(b"PK"):
        return {}, foreign_content(path, start) or "it is not a zip archive"
    with open_archive(path) as archive:
        if FACTS not in archive.names:
            return {}, None
        found = archive.text(FACTS)
    if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
        return {}, None
    return found, None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text  # to_typed reports what is wrong with it


def is_as_exported(path: Path, facts: ExportFacts) -> bool:
    """Whether the graph, weights included, still has the bytes it was exported with.

    Args:
        path: The file; its graph is read.
        facts: Facts of this file.
    """
    if kind_of(path) == "pt2":
        with open_archive(path) as archive:
            return archive.digest() == (facts.graph_bytes, facts.graph_sha256)
    return _graph_digest(path, facts) == facts.graph_sha256


def _graph_digest(path: Path, facts: ExportFacts) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for start in range(0, facts.graph_bytes, 1 << 20):
            digest.update(file.read(min(1 << 20, facts.graph_bytes - start)))
    return digest.hexdigest()


def _require_undamaged(path: Path, facts: ExportFacts) -> None:
    """Check that a file whose graph is another one was written by a program since.

    An archive needs no such check: each of its records has a checksum, which was compared.

    Raises:
        IntegrityError: It was not: its bytes were changed where they are.
    """
    if kind_of(path) == "pt2":
        return
    with path.open("rb") as file:
        file.seek(-len(END_OF_OWN), os.SEEK_END)
        if file.read() != END_OF_OWN:
            return
    raise IntegrityError(
        f"{path} is damaged: its graph is not the one that was exported\n"
        f"  expected sha256 {facts.graph_sha256}\n"
        f"  found    sha256 {_graph_digest(path, facts)}",
        hint=EXPORT_AGAIN.format(model=facts.model),
    )


def proven_export(
    entry: ModelEntry,
    architecture: Architecture,
    weights: Path | None,
    root: Path,
    *,
    categories: Sequence[Category],
    kind: ExportFormat = "onnx",
) -> tuple[Path, CheckpointFacts, ExportFacts, bool]:
    """The exported file of a model, proven to be of its architecture and categories.

    Args:
        entry: The model.
        architecture: With the test recipe of this run.
        weights: A file of the user; None for the one ``harness export`` writes by default.
        root: Folder of downloads and exports.
        categories: Categories of the data set, which the file's classes are matched to by order.
        kind: Its format.

    Returns:
        Its path, the facts of the file, its metadata, and whether it has changed since its export.
        It counts as the pinned checkpoint if it was made from that and has not.

    Raises:
        PrerequisiteError: There is no such file.
        IntegrityError: The file is damaged, or of another model, architecture, recipe or
            categories.
    """
    path = find_exported(entry, weights, root, kind)
    facts = read_facts(path)
    require_match(facts, architecture, path=path, model=entry.name)
    _require_order(facts, [category.name for category in categories], path=path)
    changed = not is_as_exported(path, facts)
    if changed:
        _require_undamaged(path, facts)
    pinned = facts.checkpoint_pinned and not changed
    return path, replace(facts_of_file(path), pinned=pinned), facts, changed


def find_exported(
    entry: ModelEntry, weights: Path | None, root: Path, kind: ExportFormat = "onnx"
) -> Path:
    """The exported file to use: the user's, or the one ``harness export`` writes by default.

    Args:
        entry: The model.
        weights: A file of the user; None for none.
        root: Folder of exports.
        kind: Its format.

    Raises:
        PrerequisiteError: There is no such file; with the command that exports it.
        UsageError: It has the ending of the other format.
    """
    path = weights or default_file(entry.name, root, kind)
    if not path.is_file():
        wanted = "" if kind == "onnx" else f" --format {kind}"
        raise PrerequisiteError(
            f"{entry.name} is not exported: no {path}",
            hint=f"run: harness export --model {entry.name}{wanted} "
            f"--root {shlex.quote(str(root))}, or give an exported file with --weights",
        )
    if (kind == "pt2") != (kind_of(path) == "pt2"):
        raise UsageError(
            f"{path} is not a file for the {kind} engine",
            hint="a file that ends in .pt2 is for --engine pt2, one in .onnx for --engine onnx",
        )
    return path


def default_file(model: str, root: Path, kind: ExportFormat = "onnx") -> Path:
    """The file that ``harness export`` writes by default.

    Args:
        model: Name of the model.
        root: Folder of exports.
        kind: Its format.
    """
    return root / "exported" / f"{model}.{kind}"


def require_match(
    facts: ExportFacts, asked: Architecture, *, path: Path, model: str | None = None
) -> None:
    """Check that the graph of a file is of an architecture and its test recipe.

    Args:
        facts: Facts of the file.
        asked: The architecture it must have.
        path: The file, for messages.
        model: The entry it must be of; None for any.

    Raises:
        IntegrityError: It differs; every difference is named.
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
            f"{path} has another network than the requested one:\n" + "\n".join(differing),
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
    """Key and value of each metadata entry of a whole ONNX file; the rest is skipped.

    Raises:
        EOFError: A field ends behind the end of the file, or is none.
        UnicodeDecodeError: Metadata that are not text.
    """
    while file.tell() < size:
        number, length = _field(file)
        if length > size - file.tell():
            raise EOFError
        if number == METADATA_FIELD:
            end = file.tell() + length
            entry = {KEY_FIELD: "", VALUE_FIELD: ""}
            while file.tell() < end:
                part, part_length = _field(file)
                if part_length > size - file.tell():
                    raise EOFError
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
