"""Scores that say less than they should: cut, in percent, all the same."""

from __future__ import annotations

import numpy as np

from harness.diagnosis.case import Case
from harness.diagnosis.places import Undo

#: Rows below which nothing is said of how scores are spread.
LEAST_ROWS = 50

#: Published numbers are of rows above this; a cut there is the recipe of Detectron2.
USUAL_CUT = 0.05

#: Scores that rows are often cut at.
CUTS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9)

#: Rows of an image that published numbers count.
MOST_ROWS = 100


def equal(case: Case) -> str | None:
    """What shows that there is one score alone; None where there are several."""
    values = np.unique(case.rows.score)
    if len(case.rows) < 20 or len(values) != 1:
        return None
    return f"all {len(case.rows)} scores are {values[0]:g}"


def in_percent(case: Case) -> Undo | None:
    """Scores divided by 100; None where they do not reach above 1."""
    score = case.rows.score
    if len(score) == 0 or len(np.unique(score)) < 2:
        return None
    if not (1.5 < score.max() <= 100.5 and score.min() >= 0):
        return None
    return Undo(
        name="scores-in-percent",
        details=f"they reach {score.max():g}",
        change=lambda given: given.with_rows(score=given.rows.score / 100),
    )


def cut(case: Case) -> tuple[float, int] | None:
    """The score that rows were cut at, and how many are just above it; None where none is seen.

    Args:
        case: Its scores are from 0 to 1.
    """
    score = case.rows.score
    if len(score) < LEAST_ROWS or len(np.unique(score)) < 10:
        return None
    least = float(score.min())
    known = [one for one in CUTS if one - 1e-6 <= least < one + 0.02]
    at = max(known, default=None)
    if at is None:
        return None
    near = int((score < at + 0.05).sum())
    # Where nothing was cut the fewest rows are at the end; where something was, many are.
    above = int(((score >= at + 0.05) & (score < at + 0.1)).sum())
    if near < 0.01 * len(score) or near < 0.5 * above:
        return None
    return at, near


def best_hundred(case: Case) -> Undo | None:
    """The best 100 rows of each image; None where none has more."""
    counts = np.unique(case.rows.image_id, return_counts=True)[1]
    many = counts > MOST_ROWS
    if not many.any():
        return None

    def change(given: Case) -> Case:
        rows = given.rows
        number = np.unique(rows.image_id, return_inverse=True)[1]
        order = np.lexsort((-rows.score, number))
        begins = np.flatnonzero(np.diff(number[order], prepend=-1))
        lengths = np.diff(begins, append=len(order))
        rank = np.arange(len(order)) - np.repeat(begins, lengths)
        return given.taking(np.sort(order[rank < MOST_ROWS]))

    details = f"{int(many.sum())} image(s), up to {int(counts.max())}"
    return Undo(name="more-than-100", details=details, change=change)
