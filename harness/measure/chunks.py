"""Detections compared with objects for some of the images: what intervals and analysis share.

Outlines are rasterised and masks compared once. A chunk has consecutive images, and what was found
of all chunks is joined to the same arrays, bit for bit, that one pass over all images makes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from harness.core.tasks import TASKS, Task
from harness.measure.columns import (
    Floats,
    Integers,
    Mask,
    Objects,
    Results,
    has_shape,
    objects_of,
)
from harness.measure.greedy import IOUS, Overlaps, Pairs, kept_detections, overlapping
from harness.measure.masks import pixels_of
from harness.measure.matching import MAX_DETECTIONS, Matching, match_table
from harness.measure.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Some consecutive images with all that is on them."""

    annotations: Mapping[str, Any]
    """The images, their objects, and all categories."""
    object_places: Integers
    """Positions of the objects among all annotations."""
    image_ids: tuple[int, ...]
    """The images."""
    first: int
    """Position of the first of them in the list of image ids."""
    positions: Integers
    """Positions of the detections in the table of all."""
    table: Table
    """The detections."""
    tasks: tuple[Task, ...]
    """Boxes, masks, or both."""
    analyzed: bool
    """Whether errors are wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What was found of a task on a chunk, or on all images."""

    objects: Objects
    """The objects, without masks; images by their position among all."""
    object_places: Integers
    """(M,) their positions among all annotations."""
    masks: tuple[Mask, ...] | None
    """(M,) their masks."""
    positions: Integers
    """(N,) positions of the detections in the table of all."""
    area_px: Floats
    """(N,) what decides the size class of each detection."""
    pairs: Pairs
    """Detections by their position in the table of all, objects by that in ``objects``."""
    errors: Matching | Exception | None
    """For the analysis; why there is none; None where it is not wanted."""


def chunks_of(
    annotations: Mapping[str, Any],
    image_ids: Sequence[int],
    table: Table,
    tasks: Sequence[Task],
    *,
    count: int,
    analyzed: bool,
) -> list[Chunk]:
    """Consecutive images with about as many detections each.

    Args:
        annotations: As returned by ``data.coco.read_annotations``.
        image_ids: The images that count, one at least.
        table: The detections on them.
        tasks: Boxes, masks, or both.
        count: How many chunks there should be.
        analyzed: Whether errors are wanted.
    """
    load = np.bincount(table.image, minlength=len(image_ids)) + 1
    owner = np.minimum((np.cumsum(load) - load) * count // int(load.sum()), count - 1)
    images = {one: number for number, one in enumerate(image_ids)}
    facts = {one["id"]: one for one in annotations["images"]}
    objects: list[list[int]] = [[] for _ in range(count)]
    for place, row in enumerate(annotations["annotations"]):
        if row["image_id"] in images:
            objects[owner[images[row["image_id"]]]].append(place)
    chunks = []
    for number in np.unique(owner).tolist():
        own = np.flatnonzero(owner == number)
        ids = tuple(image_ids[one] for one in own.tolist())
        positions = np.flatnonzero(owner[table.image] == number)
        chunks.append(
            Chunk(
                annotations={
                    "images": [facts[one] for one in ids],
                    "categories": annotations["categories"],
                    "annotations": [annotations["annotations"][one] for one in objects[number]],
                },
                object_places=np.array(objects[number], dtype=np.int64),
                image_ids=ids,
                first=int(own[0]),
                positions=positions,
                table=table.chosen(positions),
                tasks=tuple(tasks),
                analyzed=analyzed,
            )
        )
    return chunks


def compare(chunk: Chunk) -> dict[Task, Compared]:
    """Compare the detections of a chunk with its objects."""
    return {task: _compared(chunk, task) for task in chunk.tasks}


def _compared(chunk: Chunk, task: Task) -> Compared:
    objects = objects_of(chunk.annotations, task, chunk.image_ids)
    results = results_of_table(chunk.table, task, first=chunk.first)
    known = None
    if task == "segm" and chunk.analyzed:  # else only masks of one category are compared
        known = mask_overlaps(objects, results, len(chunk.image_ids))
    least = float(IOUS.min())
    kept = kept_detections(results)
    pairs = overlapping(
        objects, results, kept, least=least, known=None if known is None else known.overlaps
    )
    return Compared(
        objects=replace(objects, image=objects.image + chunk.first, masks=None),
        object_places=chunk.object_places[_places(chunk, task)],
        masks=objects.masks,
        positions=chunk.positions,
        area_px=results.area_px,
        pairs=replace(pairs, detection=chunk.positions[pairs.detection]),
        errors=_errors(chunk, task, None if known is None else known.of_image),
    )


def _places(chunk: Chunk, task: Task) -> Integers:
    """Positions among the chunk's annotations of those that ``objects_of`` has."""
    rows = chunk.annotations["annotations"]
    return np.array([place for place, row in enumerate(rows) if has_shape(row, task)], np.int64)


def _errors(
    chunk: Chunk, task: Task, known: Callable[[int], Floats] | None
) -> Matching | Exception | None:
    if not chunk.analyzed:
        return None
    try:
        # Positions of images in the table are among all.
        counts = chunk.table.counts if task == "segm" else None
        table = replace(chunk.table, image=chunk.table.image - chunk.first, counts=counts)
        found = match_table(chunk.annotations, table, task, chunk.image_ids, known=known)
    except Exception as error:  # an analysis that fails is no reason to have no intervals
        return error
    return replace(
        found,
        image=found.image + chunk.first,
        object_rows=chunk.object_places[found.object_rows],
        object_image=found.object_image + chunk.first,
    )


def results_of_table(table: Table, task: Task, *, first: int = 0) -> Results:
    """Detections as ``columns.results_of`` has them.

    Args:
        table: The detections.
        task: Boxes or masks.
        first: Position of the image that is to have the position 0.
    """
    boxes = table.boxes_xywh_px
    boxes = np.zeros((len(table), 4)) if boxes is None else boxes
    masks: tuple[Mask, ...] | None = None
    area = boxes[:, 2] * boxes[:, 3]
    if task == "segm" and table.counts is not None and table.sizes_px is not None:
        masks = tuple(table.masks())
        area = pixels_of(masks)
    return Results(
        image=table.image - first,
        category=table.category,
        boxes_xywh_px=boxes,
        score=table.score,
        area_px=area,
        masks=masks,
        most=TASKS[task].most_detections,
    )


@dataclass(frozen=True, slots=True)
class _KnownOverlaps:
    """The IoU of all detections and objects of each image."""

    overlaps: Overlaps
    """By detection and object."""
    begins: Integers
    """(images + 1,) where the pairs of each image begin."""
    detections: Integers
    """(images,) how many detections each has."""
    objects: Integers
    """(images,) how many objects each has."""

    def of_image(self, position: int) -> Floats:
        """(D, G) of an image, the best score first."""
        shape = int(self.detections[position]), int(self.objects[position])
        return self.overlaps.iou[self.begins[position] : self.begins[position + 1]].reshape(shape)


def mask_overlaps(objects: Objects, results: Results, images: int) -> _KnownOverlaps | None:
    """The IoU of every mask with every object of its image.

    Args:
        objects: Objects of masks.
        results: Results of masks.
        images: How many images there are.

    Returns:
        None where an image has more detections than count for errors: the many that never matter
        are not compared then, neither here nor there.
    """
    from pycocotools import mask as coco_mask

    detections = np.bincount(results.image, minlength=images)
    if detections.max(initial=0) > MAX_DETECTIONS:
        return None
    there = np.bincount(objects.image, minlength=images)
    order = np.lexsort((-results.score, results.image))
    object_order = np.argsort(objects.image, kind="stable")
    ends, object_ends = np.cumsum(detections), np.cumsum(there)
    masks, found = objects.masks or (), results.masks or ()
    parts = [np.zeros(0)]
    for image in np.flatnonzero((detections > 0) & (there > 0)).tolist():
        rows = order[ends[image] - detections[image] : ends[image]].tolist()
        columns = object_order[object_ends[image] - there[image] : object_ends[image]].tolist()
        values = coco_mask.iou(
            [found[one] for one in rows],
            [masks[one] for one in columns],
            [int(objects.crowd[one]) for one in columns],
        )
        parts.append(np.asarray(values, dtype=np.float64).reshape(-1))
    begins = np.concatenate((np.zeros(1, np.int64), np.cumsum(detections * there)))
    row = np.zeros(len(results), dtype=np.int64)
    rank = np.arange(len(results)) - (ends - detections)[results.image[order]]
    row[order] = begins[results.image[order]] + rank * there[results.image[order]]
    column = np.zeros(len(objects.image), dtype=np.int64)
    column[object_order] = (
        np.arange(len(objects.image)) - (object_ends - there)[objects.image[object_order]]
    )
    overlaps = Overlaps(iou=np.concatenate(parts), row=row, column=column)
    return _KnownOverlaps(overlaps, begins, detections, there)


def joined_chunks(parts: Sequence[Compared], table: Table) -> Compared:
    """What was found of all images, as one pass over them finds it.

    Args:
        parts: Parts of one task, in the order of the images.
        table: The detections of all of them.
    """
    places = np.concatenate([one.object_places for one in parts])
    order = np.argsort(places)
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    begins = np.cumsum([0, *(len(one.object_places) for one in parts)])
    area = np.zeros(len(table))
    for one in parts:
        area[one.positions] = one.area_px
    pairs = Pairs(
        detection=np.concatenate([one.pairs.detection for one in parts]),
        object=number[
            np.concatenate(
                [one.pairs.object + begin for one, begin in zip(parts, begins, strict=False)]
            )
        ],
        iou=np.concatenate([one.pairs.iou for one in parts]),
    )
    objects = Objects(
        image=np.concatenate([one.objects.image for one in parts])[order],
        category=np.concatenate([one.objects.category for one in parts])[order],
        boxes_xywh_px=np.concatenate([one.objects.boxes_xywh_px for one in parts])[order],
        area_px=np.concatenate([one.objects.area_px for one in parts])[order],
        crowd=np.concatenate([one.objects.crowd for one in parts])[order],
        masks=None,
    )
    masks = [mask for one in parts for mask in one.masks or ()]
    return Compared(
        objects=objects,
        object_places=places[order],
        masks=tuple(masks[one] for one in order.tolist()) if masks else None,
        positions=np.arange(len(table)),
        area_px=area,
        pairs=pairs,
        errors=_joined_errors([one.errors for one in parts]),
    )


def _joined_errors(parts: Sequence[Matching | Exception | None]) -> Matching | Exception | None:
    known: list[Matching] = []
    for one in parts:
        if not isinstance(one, Matching):
            return one
        known.append(one)
    begins = np.cumsum([0, *(len(one.object_rows) for one in known)])
    moved = [
        replace(one, target=np.where(one.target >= 0, one.target + begin, -1))
        for one, begin in zip(known, begins, strict=False)
    ]
    names = [one.name for one in fields(Matching) if one.name != "category_ids"]
    whole = {name: np.concatenate([getattr(one, name) for one in moved]) for name in names}
    return Matching(category_ids=known[0].category_ids, **whole)
