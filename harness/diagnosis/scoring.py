"""The AP of a case: quickly, over some images or all, by category or of all as one.

Also by how much an AP must be above another one before a fault is claimed for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from harness.core.tasks import Task
from harness.diagnosis.case import Case, areas_of
from harness.diagnosis.places import Undo
from harness.measure.columns import Booleans, Floats, Integers, Objects, Results
from harness.measure.greedy import (
    IOUS,
    SIZES,
    Matching,
    kept_detections,
    match,
    match_pairs,
    overlapping,
)
from harness.measure.resampling import category_precisions, matches_of_category, mean_of_known

#: Without categories fewer thresholds do: it is asked where boxes are, not how exactly.
COARSE_IOUS = np.array([0.5, 0.75])


def known_rows(case: Case, images: Booleans, *, agnostic: bool) -> Case:
    """The predictions that can be scored: of images that count, and of known categories.

    Args:
        case: Any.
        images: (M,) those to look at.
        agnostic: Whether the categories do not matter.
    """
    position = case.position
    there = position >= 0
    there[there] = (images & case.truth.scored)[position[there]]
    if not agnostic:
        there &= case.truth.class_of(case.rows.category_id) >= 0
    return case.taking(there)


def columns_of(
    case: Case, task: Task, images: Booleans, *, agnostic: bool
) -> tuple[Objects, Results]:
    """The objects of some images and the predictions that can match them.

    Args:
        case: Any.
        task: Boxes or masks.
        images: (M,) those to look at.
        agnostic: Take everything for one category.
    """
    objects = case.truth.objects[task]
    wanted = (images & case.truth.scored)[objects.image]
    known = known_rows(case, images, agnostic=agnostic)
    category = np.zeros(len(known.rows), dtype=np.int64)
    if not agnostic:
        category = case.truth.class_of(known.rows.category_id)
    results = Results(
        image=known.position,
        category=category,
        boxes_xywh_px=known.rows.boxes,
        score=known.rows.score,
        area_px=areas_of(known.rows, task),
        masks=known.rows.masks if task == "segm" else None,
    )
    chosen = np.flatnonzero(wanted)
    masks = objects.masks
    return (
        replace(
            objects,
            image=objects.image[chosen],
            category=np.zeros(len(chosen), np.int64) if agnostic else objects.category[chosen],
            boxes_xywh_px=objects.boxes_xywh_px[chosen],
            area_px=objects.area_px[chosen],
            crowd=objects.crowd[chosen],
            masks=None if masks is None else tuple(masks[one] for one in chosen),
        ),
        results,
    )


def average_precision(
    case: Case,
    task: Task,
    images: Booleans | None = None,
    *,
    agnostic: bool = False,
    watch: Callable[[], None] = lambda: None,
) -> float:
    """AP in 0…100 over some images; NaN where there is no object.

    Args:
        case: Predictions of unknown images and categories are left out.
        task: Boxes or masks.
        images: (M,) those to look at; None for all.
        agnostic: Take everything for one category, at two thresholds.
        watch: Called between the steps; what it raises ends them.
    """
    wanted = np.ones(len(case.truth.image_ids), dtype=bool) if images is None else images
    ious = COARSE_IOUS if agnostic else IOUS
    objects, results = columns_of(case, task, wanted, agnostic=agnostic)
    watch()
    kept = kept_detections(results)
    watch()
    pairs = overlapping(objects, results, kept, least=float(ious.min()), watch=watch)
    watch()
    matching = match_pairs(objects, results, kept, pairs, ious=ious, sizes=(SIZES["all"],))
    watch()
    categories = 1 if agnostic else len(case.truth.category_ids)
    by_category = precisions_of(objects, results, matching, categories, len(wanted))
    known = mean_of_known(by_category)
    return float(known.mean())


def size_precisions(case: Case, images: Booleans, *, area_of_boxes: bool) -> dict[str, float]:
    """Mask AP in 0…100 of small, medium and large objects; NaN where there is none.

    Args:
        case: Predictions with boxes and masks.
        images: (M,) those to look at.
        area_of_boxes: Take the area of the box for that of the mask, as pycocotools does where a
            row has both.
    """
    objects, results = columns_of(case, "segm", images, agnostic=False)
    if area_of_boxes:
        results = replace(
            results, area_px=results.boxes_xywh_px[:, 2] * results.boxes_xywh_px[:, 3]
        )
    sizes = {name: limits for name, limits in SIZES.items() if name != "all"}
    matching = match(objects, results, sizes=tuple(sizes.values()))
    found = {}
    for number, name in enumerate(sizes):
        by_category = [
            matches_of_category(objects, results, matching, size=number, category=one)
            for one in range(len(case.truth.category_ids))
        ]
        values = category_precisions(by_category, np.ones((1, len(images))))
        found[name] = float(mean_of_known(values).mean())
    return found


def precisions_of(
    objects: Objects, results: Results, matching: Matching, categories: int, images: int
) -> npt.NDArray[np.float64]:
    """(categories, 1, T) AP of each category over all images.

    Args:
        objects: What was matched.
        results: What was matched.
        matching: Matching of one size class.
        categories: How many there are.
        images: How many there are.
    """
    found = [
        matches_of_category(objects, results, matching, size=0, category=one)
        for one in range(categories)
    ]
    return category_precisions(found, np.ones((1, images)))


def met_objects(case: Case, images: Booleans, task: Task = "bbox") -> Booleans:
    """(objects,) whether a prediction of its category meets each; False on other images.

    Args:
        case: Boxes in the frame of their images; categories are right.
        images: (M,) those to look at.
        task: Boxes or masks.
    """
    objects, results = columns_of(case, task, images, agnostic=False)
    matching = match(objects, results, ious=np.array([0.5]), sizes=(SIZES["all"],))
    matched = matching.object[0, 0]
    every = case.truth.objects[task].image
    chosen = np.flatnonzero((images & case.truth.scored)[every])
    found = np.zeros(len(every), dtype=bool)
    found[chosen[matched[matched >= 0]]] = True
    return found


def matched_growth(case: Case, images: Booleans) -> Floats:
    """(2,) medians of the logarithm of how much wider and higher boxes are than objects they meet.

    Args:
        case: Boxes in the frame of their images.
        images: (M,) those to look at.

    Returns:
        NaN where none meets an object.
    """
    objects, results = columns_of(case, "bbox", images, agnostic=True)
    matching = match(objects, results, ious=np.array([0.5]), sizes=(SIZES["all"],))
    matched = matching.object[0, 0]
    there = (matched >= 0) & matching.counted[0, 0]
    if not there.any():
        return np.full(2, np.nan)
    sides = results.boxes_xywh_px[matching.kept[there], 2:]
    growth: Floats = np.median(np.log(sides / objects.boxes_xywh_px[matched[there], 2:]), axis=0)
    return growth


def matched_categories(case: Case, images: Booleans) -> Integers:
    """Pairs of classes that are at one place, whatever categories say: predicted id, true class.

    Args:
        case: Boxes in the frame of their images.
        images: (M,) those to look at.

    Returns:
        (P, 2) category id of a prediction, position of the object's category.
    """
    objects, results = columns_of(case, "bbox", images, agnostic=True)
    known = known_rows(case, images, agnostic=True)
    matching = match(objects, results, ious=np.array([0.5]), sizes=(SIZES["all"],))
    matched = matching.object[0, 0]
    there = matched >= 0
    chosen = (images & case.truth.scored)[case.truth.objects["bbox"].image]
    true_class = case.truth.objects["bbox"].category[chosen]
    return np.stack(
        [known.rows.category_id[matching.kept[there]], true_class[matched[there]]], axis=1
    )


#: AP points that undoing a fault must bring, and as part of what AP is then.
LEAST_GAIN = 1.0
LEAST_PART = 0.1


def better(
    one: tuple[float, tuple[Undo, ...]], other: tuple[float, tuple[Undo, ...]]
) -> tuple[float, tuple[Undo, ...]]:
    """The higher AP of two; every fault that it assumes more must bring something.

    Args:
        one: AP, and what was undone for it.
        other: The same.
    """
    more = len(other[1]) - len(one[1])
    needed = margin(max(one[0], other[0])) * more if more else 0.0
    return other if other[0] - one[0] > needed else one


def margin(value: float) -> float:
    """How much an AP must be above another one to count as higher.

    Args:
        value: The higher AP.
    """
    return max(LEAST_GAIN, LEAST_PART * value)


def number(value: float) -> float:
    """An AP; 0 where there is none.

    Args:
        value: AP, or NaN.
    """
    return 0.0 if np.isnan(value) else value
