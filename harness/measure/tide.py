"""What each kind of error costs in AP, as "TIDE" counts it (Bolya et al., 2020).

An error type costs what AP at an IoU of 0.5 rises by when all its errors are corrected: a detection
that localizes or classifies badly becomes the true positive it might be, or is left out where the
object has a better one; false detections are left out; missed objects are not counted. The two
special types say what perfect precision, and perfect recall, would bring alone. The numbers are
those of the authors' program, tidecv, with its two peculiarities: a category that is detected but
nowhere annotated has AP 0, and of equal scores the corrected and the wrong ones come first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.measure.matching import (
    BACKGROUND,
    BOTH,
    CLASSIFICATION,
    DUPLICATE,
    LOCALIZATION,
    Bools,
    Floats,
    Ints,
    Matching,
)

#: TIDE's main types, in its order, and what its program calls them.
MAIN_ERRORS: Mapping[str, str] = {
    "classification": "Cls",
    "localization": "Loc",
    "both": "Both",
    "duplicate": "Dupe",
    "background": "Bkg",
    "missed": "Miss",
}

#: What its special types are called.
SPECIAL_ERRORS: Mapping[str, str] = {"false positive": "FalsePos", "false negative": "FalseNeg"}

#: Size classes of its areas: name → (above, up to), px² of the box.
SIZES: Mapping[str, tuple[float, float]] = {
    "small": (-np.inf, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, np.inf),
}

RECALLS = np.arange(101) / 100

#: Of the main types but "missed", in the numbering of ``Matching.error``.
NUMBERS = {
    "classification": CLASSIFICATION,
    "localization": LOCALIZATION,
    "both": BOTH,
    "duplicate": DUPLICATE,
    "background": BACKGROUND,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCost:
    """One type of error."""

    name: str
    """A key of ``MAIN_ERRORS`` or ``SPECIAL_ERRORS``."""
    count: int
    """Detections, or objects, that are such an error."""
    dap: float | None
    """AP points that correcting all of them brings; None where no AP remains to be averaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryErrors:
    """The errors of one category."""

    category_id: int
    """Id of the category."""
    ap50: float | None
    """Its AP at an IoU of 0.5, 0-100; None without objects and detections."""
    dap: dict[str, float | None]
    """AP points of this category that correcting a type everywhere brings, by main type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorAnalysis:
    """All types of error of one task."""

    ap50: float | None
    """AP at an IoU of 0.5 as TIDE averages it, 0-100; None without objects and detections."""
    main: tuple[ErrorCost, ...]
    """The six main types, in the order of ``MAIN_ERRORS``."""
    special: tuple[ErrorCost, ...]
    """The two special types: all false positives, all false negatives."""
    by_size: dict[str, dict[str, float | None]]
    """Size class → main type → AP points that correcting the errors of that size brings."""
    by_category: tuple[CategoryErrors, ...]
    """A row for each category that has objects or detections, by id."""


def analyze_errors(found: Matching) -> ErrorAnalysis:
    """What each type of error costs.

    Args:
        found: As returned by ``measure.matching.match_images`` at its own limit of detections.
    """
    corrections = _Corrections(found)
    nothing = np.zeros(len(found.rows), dtype=bool), np.zeros(len(found.object_rows), dtype=bool)
    ordinary = corrections.before()
    ap50 = _mean(ordinary)
    whole = {name: corrections.after(*corrections.of(name)) for name in MAIN_ERRORS}
    by_size: dict[str, dict[str, float | None]] = {}
    for size, (above, most) in SIZES.items():
        chosen = corrections.between(above, most)
        by_size[size] = {
            name: _gain(corrections.after(*corrections.of(name, chosen)), ap50)
            for name in MAIN_ERRORS
        }
    return ErrorAnalysis(
        ap50=ap50,
        main=tuple(
            ErrorCost(name=name, count=corrections.count(name), dap=_gain(whole[name], ap50))
            for name in MAIN_ERRORS
        ),
        special=_special(corrections, nothing, ap50),
        by_size=by_size,
        by_category=_by_category(found.category_ids, ordinary, whole),
    )


def _special(
    corrections: _Corrections, nothing: tuple[Bools, Bools], ap50: float | None
) -> tuple[ErrorCost, ...]:
    found = corrections.found
    precise = _mean(corrections.after(*nothing, perfect_precision=True))
    complete = _mean(corrections.after(*nothing, without_lacking=True))
    counts = int((~found.hit & ~found.ignored).sum()), int((~found.matched).sum())
    return tuple(
        ErrorCost(name=name, count=count, dap=_difference(ap, ap50))
        for name, count, ap in zip(SPECIAL_ERRORS, counts, (precise, complete), strict=True)
    )


def _by_category(
    category_ids: Sequence[int], ordinary: Floats, whole: Mapping[str, Floats]
) -> tuple[CategoryErrors, ...]:
    return tuple(
        CategoryErrors(
            category_id=category_ids[number],
            ap50=float(ordinary[number]),
            dap={
                name: None
                if np.isnan(aps[number])
                else max(float(aps[number] - ordinary[number]), 0.0)
                for name, aps in whole.items()
            },
        )
        for number in np.flatnonzero(~np.isnan(ordinary)).tolist()
    )


class _Corrections:
    """AP by class index after some errors were corrected."""

    def __init__(self, found: Matching) -> None:
        self.found = found
        self._classes = len(found.category_ids)
        self._correctable = found.correctable
        self._missed = found.missed
        self._objects = np.bincount(found.object_class_index, minlength=self._classes)
        # Sorted once: whatever is corrected, what is left stays in this order within its class.
        self._by_score = np.argsort(-found.score, kind="stable")
        # tidecv adds what was wrong first, in its order, and then what was right.
        self._wrong_first = np.lexsort((found.hit, -found.score))

    def of(self, name: str, chosen: tuple[Bools, Bools] | None = None) -> tuple[Bools, Bools]:
        """The detections and the objects that are errors of a main type.

        Args:
            name: The type.
            chosen: Detections and objects to choose from; None for all.
        """
        detections = np.zeros(len(self.found.rows), dtype=bool)
        objects = np.zeros(len(self.found.object_rows), dtype=bool)
        if name == "missed":
            objects = self._missed
        else:
            detections = self.found.error == NUMBERS[name]
        if chosen is None:
            return detections, objects
        return detections & chosen[0], objects & chosen[1]

    def count(self, name: str) -> int:
        """How many errors are of a main type, without detections in crowds."""
        detections, objects = self.of(name)
        return int((detections & ~self.found.ignored).sum() + objects.sum())

    def between(self, above: float, most: float) -> tuple[Bools, Bools]:
        """Errors of a size class: of the object's box where there is one, else the detection's."""
        found = self.found
        area = found.area.copy()
        about = np.flatnonzero(found.target >= 0)
        area[about] = found.object_area[found.target[about]]
        return (area > above) & (area <= most), (
            (found.object_area > above) & (found.object_area <= most)
        )

    def before(self) -> Floats:
        """(K,) AP of each class as it is; NaN without objects and detections."""
        found = self.found
        rows = self._by_score[~found.ignored[self._by_score]]
        return self._average_precisions(found.class_index[rows], found.hit[rows], self._objects)

    def after(
        self,
        detections: Bools,
        objects: Bools,
        *,
        perfect_precision: bool = False,
        without_lacking: bool = False,
    ) -> Floats:
        """(K,) AP of each class when errors are corrected; NaN where nothing is left of it.

        Args:
            detections: (N,) the ones to correct.
            objects: (M,) the ones that no longer count.
            perfect_precision: Every true positive scores more than every false one.
            without_lacking: Objects without a match do not count.
        """
        found = self.found
        gained = ~found.hit & detections & self._correctable
        hits = found.hit | gained
        kept = hits | ~(detections | found.ignored)
        classes = found.class_index.copy()
        classes[gained] = found.object_class_index[found.target[gained]]
        rows = self._wrong_first[kept[self._wrong_first]]
        if perfect_precision:
            rows = np.concatenate([rows[hits[rows]], rows[~hits[rows]]])
        gone = objects | ~found.matched if without_lacking else objects
        lacking = np.bincount(found.object_class_index[gone], minlength=self._classes)
        return self._average_precisions(classes[rows], hits[rows], self._objects - lacking)

    def _average_precisions(self, classes: Ints, hits: Bools, positives: Ints) -> Floats:
        """(K,) AP of each class.

        Args:
            classes: (N,) of detections, the most certain first.
            hits: (N,) whether each is a true positive.
            positives: (K,) objects of each class.
        """
        # Few bits are sorted in a fraction of the time.
        order = np.argsort(classes.astype(np.min_scalar_type(self._classes)), kind="stable")
        starts = np.searchsorted(classes[order], np.arange(self._classes + 1))
        result = np.full(self._classes, np.nan)
        for number in range(self._classes):
            own = hits[order[starts[number] : starts[number + 1]]]
            if len(own) or positives[number]:
                result[number] = _average_precision(own, int(positives[number]))
        return result


def _average_precision(hits: Bools, positives: int) -> float:
    """AP of one category at one IoU, 0-100.

    Args:
        hits: (n,) whether each detection is a true positive, best score first.
        positives: Objects.
    """
    if positives <= 0 or not len(hits):
        return 0.0
    true = np.cumsum(hits)
    recall = true / positives
    precision = true / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, RECALLS, side="left")
    return float(envelope[places[places < len(envelope)]].sum() / len(RECALLS) * 100)


def _mean(aps: Floats) -> float | None:
    known = aps[~np.isnan(aps)]
    return float(known.mean()) if len(known) else None


def _difference(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before


def _gain(aps: Floats, before: float | None) -> float | None:
    """Of a main type: never negative, as its authors have it."""
    gain = _difference(_mean(aps), before)
    return None if gain is None else max(gain, 0.0)
