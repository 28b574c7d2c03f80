"""Label Studio: its JSON export, and the flatter JSON-MIN.

Coordinates are percent of the image. A task may have been annotated by several people: one of them
is taken, and the objects of the others are counted. Polygons, brushes and ellipses are masks;
rectangles are boxes, turned ones too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from harness.core.errors import IntegrityError, UsageError
from harness.data.convert.formats.labelstudio_regions import (
    Region,
    region_object,
    regions_of,
    shape_of,
)
from harness.data.convert.image_matching import paths_in
from harness.data.convert.source_annotations import PERCENT, SourceAnnotations, SourceObject, Tally
from harness.data.fields import flag_of
from harness.data.image_files import SUFFIXES
from harness.data.text_files import read_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """One person's work on one task."""

    where: str
    """File, task and annotation."""

    by: str
    """The person's number, or their address where it is stated."""

    ground_truth: bool
    """Whether it was marked as the one that counts."""

    changed: str
    """When it was changed last, as ISO 8601."""

    regions: list[Region]
    """What was drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One image."""

    where: str
    """File and task."""

    names: tuple[str, ...]
    """What the image may be called, the likeliest first."""

    annotations: list[Annotation]
    """Those that were not cancelled."""


def read(
    source: Path, tally: Tally, *, annotator: str | None = None, encoding: str | None = None
) -> Iterator[SourceAnnotations]:
    """The annotations of every task of a JSON or JSON-MIN export.

    Args:
        source: The exported file.
        tally: What is left out is counted here.
        annotator: Whose annotations are taken; None takes a task's ground truth, else the one
            changed last.
        encoding: Encoding of the file, where that is not certain.

    Raises:
        IntegrityError: It is no such export.
        UsageError: The annotator is not in the file.
    """
    tasks = _tasks(read_json(source, encoding=encoding), source)
    people = sorted({one.by for task in tasks for one in task.annotations})
    if annotator is not None and annotator not in people:
        raise UsageError(
            f"{source} has no annotation by {annotator}",
            hint=f"--annotator takes one of {', '.join(people)}",
        )
    for task in tasks:
        usable = [one for one in task.annotations if annotator in (None, one.by)]
        if usable:
            # The last of those that are equally good, so that the file alone decides.
            chosen = sorted(usable, key=lambda one: (one.ground_truth, one.changed))[-1]
            _count_others(task, chosen, annotator, tally)
            yield _annotated(task, chosen, source, tally)
        else:
            tally.note("tasks without an annotation: not taken as empty images", task.where)


def is_labelstudio(content: Any) -> bool:
    """Whether parsed JSON is an export of either kind."""
    if not isinstance(content, list) or not content or not isinstance(content[0], dict):
        return False
    return isinstance(content[0].get("data"), dict) or "annotation_id" in content[0]


def _count_others(task: Task, chosen: Annotation, annotator: str | None, tally: Tally) -> None:
    rule = f"that of {annotator}" if annotator else "the ground truth, else the last,"
    for other in task.annotations:
        if other is not chosen and other.regions:
            reason = f"of another annotation of the same task ({rule} is taken)"
            tally.drop(reason, other.where, len(other.regions))


def _tasks(content: Any, source: Path) -> list[Task]:
    """Every task with the annotations that were not cancelled."""
    if not is_labelstudio(content):
        raise IntegrityError(f"{source} is not an export of Label Studio: expected a list of tasks")
    tasks: dict[Any, Task] = {}
    for position, row in enumerate(content):
        if not isinstance(row, dict):
            raise IntegrityError(f"{source}: task {position} is not an object of JSON")
        where = f"{source}: task {row.get('id', position)}"
        data = row.get("data")
        if isinstance(data, dict):
            with _as_exported(where):
                rows = _annotations(row)
                found = [_full(one, where) for one in rows if not flag_of(one.get("was_cancelled"))]
            names = _names(data, row.get("file_upload"))
            tasks[position] = Task(where=where, names=names, annotations=found)
        else:  # JSON-MIN has a row for each annotation of a task
            task = Task(where=where, names=_names(row, None), annotations=[])
            with _as_exported(where):
                key = ("min", row.get("id", position))
                tasks.setdefault(key, task).annotations.append(_least(row, where))
    return list(tasks.values())


@contextmanager
def _as_exported(where: str) -> Iterator[None]:
    """Whatever has another shape than Label Studio writes, as an error that names the task."""
    try:
        yield
    except (TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(f"{where} is not as Label Studio exports it: {error}") from None


def _annotations(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The annotations of a task; one without a result says nothing, not that nothing is there."""
    found = row.get("annotations", row.get("completions")) or []
    return [one for one in found if isinstance(one, dict) and one.get("result") is not None]


def _full(row: Mapping[str, Any], where: str) -> Annotation:
    where = f"{where}, annotation {row.get('id')}"
    return Annotation(
        where=where,
        by=_person(row.get("completed_by")),
        ground_truth=flag_of(row.get("ground_truth")),
        changed=str(row.get("updated_at") or row.get("created_at") or ""),
        regions=regions_of(row.get("result") or [], where),
    )


def _least(row: Mapping[str, Any], where: str) -> Annotation:
    """An annotation of JSON-MIN: regions are lists of what elsewhere is their value."""
    where = f"{where}, annotation {row.get('annotation_id')}"
    results = [
        {"type": shape_of(value) if kind == "labels" else kind, "value": value, **value}
        for values in map(_listed, row.values())
        for value in values
        if isinstance(value, dict)
        if (kind := next((key for key in value if key.endswith("labels")), None))
    ]
    return Annotation(
        where=where,
        by=_person(row.get("annotator")),
        ground_truth=False,
        changed=str(row.get("updated_at") or row.get("created_at") or ""),
        regions=regions_of(results, where),
    )


def _listed(value: Any) -> list[Any]:
    """The list of a field, also as text, as Label Studio's CSV has it; empty where it is none."""
    if isinstance(value, str) and value.lstrip().startswith("[{"):
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    return value if isinstance(value, list) else []


def _person(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("email") or value.get("id"))
    return str(value)


def _names(data: Mapping[str, Any], upload: Any) -> tuple[str, ...]:
    """What the image may be called: the field ``image`` or the first that looks like one."""
    fields = {name: value for name, value in data.items() if isinstance(value, str)}
    lists = [value[0] for value in data.values() if isinstance(value, list) and value]
    lists = [value for value in lists if isinstance(value, str)]
    looking = [value for value in (*fields.values(), *lists) if _is_image(value)]
    addresses = [fields.get("image", ""), *looking[:1], upload if isinstance(upload, str) else ""]
    names = [name.lstrip("/") for address in addresses for name in reversed(paths_in(address)[:4])]
    # An address of another system may have less of the name than the upload.
    return tuple(sorted(dict.fromkeys(names), key=lambda name: not _is_image(name))) or ("?",)


def _is_image(name: str) -> bool:
    return any(PurePosixPath(one).suffix.lower() in SUFFIXES for one in paths_in(name))


def _annotated(task: Task, chosen: Annotation, source: Path, tally: Tally) -> SourceAnnotations:
    sizes = [one.size_px for one in chosen.regions if one.size_px is not None]
    objects: list[SourceObject] = []
    for region in chosen.regions:
        one = region_object(region, tally)
        if one is not None:
            objects.append(one)
    return SourceAnnotations(
        where=chosen.where,
        names=task.names,
        beside=source.parent,
        frame=PERCENT,
        size_px=sizes[0] if sizes else None,
        objects=tuple(objects),
    )
