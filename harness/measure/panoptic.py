"""Panoptic quality: segments matched with segments, as COCO's panopticapi does.

A segment is found where one of its category overlaps it by more than half (IoU), which at most one
can. Of a found segment counts its IoU, of others that they are missing or false. The quality PQ of
a category is the sum of these IoUs over the found and half of the others; SQ is the mean IoU of
what is found, RQ the rest of the quotient. The numbers are means over the categories that are
there at all.

What no segment of the ground truth has counts for nothing: pixels of it leave the union, and a
false segment that is in it, or in a crowd of its category, by more than half is not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from harness.core.errors import IntegrityError
from harness.core.printable import counted
from harness.core.record import CategoryScore, MetricInterval
from harness.core.tasks import PANOPTIC
from harness.measure.bootstrap import (
    CHUNK,
    LEAST_IMAGES,
    SEED,
    Differences,
    adjusted,
    around,
    difference_of,
)
from harness.measure.resampling import draws

Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]

#: Numbers of segments are three bytes of a PNG's pixel.
ID_RANGE = 1 << 24

#: What pixels without a segment have.
VOID = 0

#: IoU above which two segments of a category are the same.
SAME = 0.5


class Odd(NamedTuple):
    """Segments of the ground truth whose PNG and listing differ, counted."""

    areas: int = 0
    """Of another area than is listed."""

    unlisted: int = 0
    """In a PNG, and not listed."""

    without_pixel: int = 0
    """Listed, and without a pixel in the PNG."""


class Counts(NamedTuple):
    """What one category has in some images."""

    iou: float = 0.0
    """Sum of the IoUs of what is found."""
    true_positives: int = 0
    """Segments that are found."""
    false_positives: int = 0
    """Segments that are none of the ground truth's."""
    false_negatives: int = 0
    """Segments of the ground truth that are not found."""


#: Of each category that an image has.
Tally = dict[int, Counts]

#: A segment of a file: id, category_id, iscrowd, and of the ground truth area.
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PanopticScores:
    """The qualities of a set of maps."""

    metrics: dict[str, float | None]
    """``panoptic_seg/PQ`` … ``panoptic_seg/RQ_st``, 0-100; None without a category."""

    per_category: tuple[CategoryScore, ...]
    """PQ of each category, by COCO id."""

    intervals: dict[str, MetricInterval]
    """How sure the metrics are."""


def tally(truth: Ids, truth_rows: Sequence[Row], found: Ids, found_rows: Sequence[Row]) -> Tally:
    """Match the segments of one image.

    Args:
        truth: (H, W), the number of each pixel's segment, 0 to 2²⁴ − 1.
        truth_rows: The segments of the ground truth; its areas are taken as they are listed.
        found: (H, W) of the prediction.
        found_rows: Its segments; each has a pixel.

    Raises:
        IntegrityError: A segment of the ground truth has fewer pixels than one that is found in it.
    """
    shared = _shared(truth, found)
    areas: dict[int, int] = {}
    for (_, number), pixels in shared.items():
        areas[number] = areas.get(number, 0) + pixels
    segments = {row["id"]: row for row in found_rows}
    objects = {row["id"]: row for row in truth_rows}
    counts: dict[int, list[float]] = {}
    pairs: dict[int, int] = {}  # found segments by those of the ground truth
    for (one, other), pixels in shared.items():
        iou = _iou(objects.get(one), segments.get(other), pixels, areas, shared)
        if iou > SAME:
            pairs[one] = other
            _add(counts, objects[one]["category_id"], (iou, 1, 0, 0))
    for number, row in objects.items():
        if number not in pairs and not row.get("iscrowd", 0):
            _add(counts, row["category_id"], (0.0, 0, 0, 1))
    crowds = {row["category_id"]: number for number, row in objects.items() if row.get("iscrowd")}
    matched = set(pairs.values())
    for number, row in segments.items():
        if number in matched:
            continue
        excused = shared.get((VOID, number), 0)
        crowd = crowds.get(row["category_id"])  # of several, the last one
        excused += 0 if crowd is None else shared.get((crowd, number), 0)
        if excused / areas[number] <= SAME:
            _add(counts, row["category_id"], (0.0, 0, 1, 0))
    return {
        category: Counts(iou, int(hits), int(false), int(missed))
        for category, (iou, hits, false, missed) in counts.items()
    }


def _shared(truth: Ids, found: Ids) -> dict[tuple[int, int], int]:
    """Pixels that two segments share, by the number in the ground truth and in the prediction."""
    pairs = truth.astype(np.int64) * ID_RANGE + found
    return {(one // ID_RANGE, one % ID_RANGE): count for one, count in pixels_of(pairs).items()}


def pixels_of(numbers: npt.NDArray[np.integer[Any]]) -> dict[int, int]:
    """How many pixels have each number.

    Segments are long runs: numbers are compared where they change, not at every pixel.

    Args:
        numbers: (H, W), one pixel or more.
    """
    flat = numbers.ravel()
    starts = np.flatnonzero(np.concatenate(([True], flat[1:] != flat[:-1])))
    lengths = np.diff(np.append(starts, flat.size))
    values, places = np.unique(flat[starts], return_inverse=True)
    pixels = np.bincount(places.ravel(), weights=lengths).astype(np.int64)
    return dict(zip(values.tolist(), pixels.tolist(), strict=True))


def with_areas(ids: Ids, segments: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], Odd]:
    """The true segments of an image, each with an area, and what is odd about them.

    Args:
        ids: (H, W) of its PNG.
        segments: That the file lists; the area of one that has none is what it has in the PNG.
    """
    areas = pixels_of(ids)
    areas.pop(VOID, None)
    whole = [{**one, "area": one.get("area", areas.get(one["id"], 0))} for one in segments]
    listed = {one["id"] for one in whole}
    odd = Odd(
        areas=sum(areas.get(one["id"], one["area"]) != one["area"] for one in whole),
        unlisted=len(areas.keys() - listed),
        without_pixel=len(listed - areas.keys()),
    )
    return whole, odd


def odd_sentences(odd: Odd, name: str) -> Iterator[str]:
    """What is odd about a panoptic file of this name, and what is made of it."""
    if odd.areas:
        yield (
            f"{counted(odd.areas, 'segment')} of {name} with another area than in the PNG; the "
            "listed one counts, as in panopticapi"
        )
    if odd.unlisted:
        yield (
            f"{counted(odd.unlisted, 'segment of the PNGs is', 'segments of the PNGs are')} not "
            f"listed in {name}: nothing is found in those pixels, as in panopticapi, and a "
            "semantic head is not measured there, as in Detectron2"
        )
    if odd.without_pixel:
        yield (
            f"{counted(odd.without_pixel, 'segment')} of {name} without a pixel in the PNG: "
            "counted as missed, as in panopticapi"
        )


def _iou(
    truth: Row | None,
    found: Row | None,
    pixels: int,
    areas: Mapping[int, int],
    shared: Mapping[tuple[int, int], int],
) -> float:
    """IoU of two segments; 0 where they are not of one category, or of none, or a crowd.

    Raises:
        IntegrityError: The listed area is less than what they share: an IoU above 1, or of nothing.
    """
    if truth is None or found is None or truth.get("iscrowd", 0):
        return 0.0
    if truth["category_id"] != found["category_id"]:
        return 0.0
    if truth["area"] < pixels:
        raise IntegrityError(
            f"segment {truth['id']} lists the area {truth['area']}, and has at least {pixels} px"
        )
    union = areas[found["id"]] + truth["area"] - pixels - shared.get((VOID, found["id"]), 0)
    return float(pixels / union)


def _add(counts: dict[int, list[float]], category: int, numbers: Iterable[float]) -> None:
    before = counts.setdefault(category, [0.0, 0, 0, 0])
    counts[category] = [one + more for one, more in zip(before, numbers, strict=True)]


def qualities(
    tallies: Sequence[Tally],
    things: Mapping[int, str],
    stuff: Mapping[int, str],
    *,
    resamples: int = 0,
) -> PanopticScores:
    """The numbers of all images together.

    Args:
        tallies: One an image.
        things: Names of the categories of single objects, by id.
        stuff: Names of the others, by id.
        resamples: Draws of the bootstrap over images; 0 for no intervals.
    """
    names = dict(sorted({**things, **stuff}.items()))
    table, parts = _table(tallies, list(names)), _parts(list(names), things)
    sums = table.sum(axis=0)[None]
    whole = {name: one[0] for name, one in _means(sums, parts).items()}
    by_category = _by_category(sums)[0][0]
    intervals, of_categories = _intervals(table, parts, whole, by_category, resamples)
    rows = tuple(
        CategoryScore(
            task=PANOPTIC,
            category_id=category,
            name=name,
            ap=_percent(by_category[place]),
            reason="" if by_category[place] == by_category[place] else "no segment",
            interval=of_categories.get(place),
        )
        for place, (category, name) in enumerate(names.items())
    )
    return PanopticScores(
        metrics={name: _percent(value) for name, value in whole.items()},
        per_category=rows,
        intervals=intervals,
    )


def map_differences(
    first: Sequence[Tally],
    second: Sequence[Tally],
    things: Mapping[int, str],
    stuff: Mapping[int, str],
    *,
    resamples: int,
) -> Differences:
    """Second minus first for every quality, with intervals by a paired bootstrap over the images.

    Args:
        first: One tally an image.
        second: The same of another run, on the same images.
        things: Names of the categories of single objects, by id.
        stuff: Names of the others, by id.
        resamples: Draws of the bootstrap.
    """
    categories = sorted({**things, **stuff})
    tables = [_table(one, categories) for one in (first, second)]
    parts, images = _parts(categories, things), len(first)

    def apart(weights: Floats) -> dict[str, Floats]:
        one, other = (
            _means((weights @ table.reshape(images, -1)).reshape(-1, 4, len(categories)), parts)
            for table in tables
        )
        return {name: 100 * (other[name] - value) for name, value in one.items()}

    whole = apart(np.ones((1, images)))
    drawn = [apart(weights) for weights in draws(images, resamples, seed=SEED, size=CHUNK)]
    enough = images >= LEAST_IMAGES
    found = {
        name.partition("/")[2]: difference_of(
            float(value[0]), np.concatenate([one[name] for one in drawn]), enough=enough
        )
        for name, value in whole.items()
    }
    return adjusted(found, {})


def _table(tallies: Sequence[Tally], categories: Sequence[int]) -> Floats:
    """(images, 4, K): IoU, found, false and missed of each category."""
    places = {category: place for place, category in enumerate(categories)}
    table = np.zeros((len(tallies), 4, len(categories)))
    for image, one in enumerate(tallies):
        for category, counts in one.items():
            table[image, :, places[category]] = counts
    return table


def _parts(
    categories: Sequence[int], things: Mapping[int, str]
) -> dict[str, npt.NDArray[np.bool_]]:
    """(K,) which categories a mean is over, by the end of its name."""
    are_things = np.array([one in things for one in categories], dtype=bool)
    return {"": np.ones(len(categories), dtype=bool), "_th": are_things, "_st": ~are_things}


def _by_category(sums: Floats) -> tuple[Floats, Floats, Floats]:
    """PQ, SQ and RQ of each category, (S, K) each, 0…1; NaN where it has no segment.

    Args:
        sums: (S, 4, K): IoU, found, false, missed.
    """
    iou, found, false, missed = sums[:, 0], sums[:, 1], sums[:, 2], sums[:, 3]
    whole = found + 0.5 * false + 0.5 * missed
    known = whole > 0
    pq, sq, rq = (np.full(iou.shape, np.nan) for _ in range(3))
    np.divide(iou, whole, out=pq, where=known)
    np.divide(found, whole, out=rq, where=known)
    sq[known] = 0.0
    np.divide(iou, found, out=sq, where=found > 0)
    return pq, sq, rq


def _means(sums: Floats, parts: Mapping[str, npt.NDArray[np.bool_]]) -> dict[str, Floats]:
    """(S,) means over the categories that are there, by name, in the order of tables."""
    found = {}
    values = dict(zip(("PQ", "SQ", "RQ"), _by_category(sums), strict=True))
    for part, chosen in parts.items():
        for name, each in values.items():
            own = each[:, chosen]
            there = ~np.isnan(own)
            count = there.sum(axis=1)
            total = np.where(there, own, 0.0).sum(axis=1)
            mean = np.full(len(sums), np.nan)
            np.divide(total, count, out=mean, where=count > 0)
            found[f"{PANOPTIC}/{name}{part}"] = mean
    return found


def _intervals(
    table: Floats,
    parts: Mapping[str, npt.NDArray[np.bool_]],
    whole: Mapping[str, float],
    by_category: Floats,
    resamples: int,
) -> tuple[dict[str, MetricInterval], dict[int, MetricInterval]]:
    """Intervals of the metrics, and of the PQ of categories by their position."""
    images = len(table)
    if resamples == 0 or images < LEAST_IMAGES:
        return {}, {}
    of_metrics, of_categories = _influences(table, parts)
    drawn: dict[str, list[Floats]] = {name: [] for name in whole}
    sums: dict[str, list[Floats]] = {name: [] for name in whole}
    spread, carried = [], []
    flat = table.reshape(images, -1)
    for weights in draws(images, resamples, seed=SEED, size=CHUNK):
        totals = (weights @ flat).reshape(-1, *table.shape[1:])
        spread.append(_by_category(totals)[0])
        carried.append(weights @ of_categories)
        for name, values in _means(totals, parts).items():
            drawn[name].append(values)
            sums[name].append(weights @ of_metrics[name])
    metrics = {
        name: found
        for name, value in whole.items()
        if (found := _around(value, drawn[name], sums[name], of_metrics[name])) is not None
    }
    there = (table[:, 1:].sum(axis=1) > 0).sum(axis=0)  # images of each category
    categories = {}
    for place in np.flatnonzero(there >= LEAST_IMAGES).tolist():
        own, moved = ([one[:, place] for one in kept] for kept in (spread, carried))
        found = _around(by_category[place], own, moved, of_categories[:, place])
        if found is not None:
            categories[place] = found
    return metrics, categories


def _around(
    value: float, drawn: Sequence[Floats], sums: Sequence[Floats], influence: Floats
) -> MetricInterval | None:
    """The interval of a number of 0…1, in 0…100."""
    parts = (np.concatenate(drawn), np.concatenate(sums), influence)
    return around(100 * value, *(100 * one for one in parts))


def _influences(
    table: Floats, parts: Mapping[str, npt.NDArray[np.bool_]]
) -> tuple[dict[str, Floats], Floats]:
    """How much each image moves the numbers: (images,) by metric, and (images, K) PQ of categories.

    They are derivatives by the weight of an image: of a quotient a / b, (aᵢ − a / b · bᵢ) / b.
    """
    iou, found = table[:, 0], table[:, 1]
    whole = found + 0.5 * table[:, 2] + 0.5 * table[:, 3]
    known = whole.sum(axis=0) > 0
    each = {
        name: _of_quotient(above, below)
        for name, above, below in (("PQ", iou, whole), ("SQ", iou, found), ("RQ", found, whole))
    }
    metrics = {
        f"{PANOPTIC}/{name}{part}": each[name][:, chosen & known].sum(axis=1)
        / max(1, int((chosen & known).sum()))
        for part, chosen in parts.items()
        for name in each
    }
    return metrics, each["PQ"]


def _of_quotient(above: Floats, below: Floats) -> Floats:
    """(images, K) influences on the quotient of the sums of two (images, K); 0 where it is none."""
    total = below.sum(axis=0)
    safe = np.where(total > 0, total, 1.0)
    influence: Floats = (above - above.sum(axis=0) / safe * below) / safe
    return np.where(total > 0, influence, 0.0)


def _percent(value: float) -> float | None:
    return None if np.isnan(value) else float(value) * 100
