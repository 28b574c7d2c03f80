"""What each image contributes to an AP: its influence, the derivative by its weight.

Drawing an image twice changes AP by about its influence, so the resampled AP is nearly a sum over
the draws (the infinitesimal jackknife: Jaeckel 1972, Efron 1982). The spread of such a sum is known
without drawing; only what the sum misses has to be drawn (``measure.bootstrap``).

The area below the precision envelope is derived, whose steps are as wide as an object. COCO's 101
recall levels are a sum over the same envelope.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from harness.measure.columns import Floats
from harness.measure.resampling import SIZE_METRICS, Matches


def influences_of(matches: Mapping[str, Sequence[Matches]], images: int) -> dict[str, Floats]:
    """(images,) of each AP by name, and (categories, images) of each category as ``categories``.

    Args:
        matches: Of ``matches_by_size``.
        images: How many images there are.
    """
    result: dict[str, Floats] = {}
    for size, by_category in matches.items():
        known = [number for number, one in enumerate(by_category) if len(one.objects)]
        total = np.zeros((len(by_category[0].hit) if by_category else 0, images))
        means = np.zeros((len(by_category), images))
        for number in known:
            own = category_influences(by_category[number], images)
            means[number] = own.mean(axis=0)
            total += own / len(known)
        if size in SIZE_METRICS:
            result[SIZE_METRICS[size]] = means.sum(axis=0) / max(1, len(known))
        elif len(total):
            result |= {"AP": total.mean(axis=0), "AP50": total[0], "AP75": total[5]}
            result["categories"] = means
    return result


def category_influences(matches: Matches, images: int) -> Floats:
    """(T, images) influence of each image on the AP of one category, in AP points.

    Args:
        matches: Of a category that has objects.
        images: How many images there are.
    """
    objects = len(matches.objects)
    own_objects = np.bincount(matches.objects, minlength=images)
    result = np.zeros((len(matches.hit), images))
    for number, (hit, counted) in enumerate(zip(matches.hit, matches.counted, strict=True)):
        value, detections = _influences(hit, counted)
        own = np.bincount(matches.image, weights=detections, minlength=images)
        result[number] = own - value / objects * own_objects
    return 100 / objects * result


def _influences(hit: npt.NDArray[np.bool_], counted: npt.NDArray[np.bool_]) -> tuple[float, Floats]:
    """The sum of the envelope over all hits, and (N,) its derivative by each detection's weight.

    The envelope of a hit is the precision h / n of the best rank at or behind it, with h hits
    and n counted detections up to there. One more of weight w before that rank changes it by
    w · (1 − h / n) / n where it is a hit, and by −w · (h / n) / n otherwise; a hit also adds the
    envelope at its own place.

    Args:
        hit: (N,) matches that count, best score first.
        counted: (N,) what counts.
    """
    rows = np.flatnonzero(hit)
    result = np.zeros(len(hit))
    if len(rows) == 0:
        return 0.0, result
    seen = np.cumsum(counted)[rows]
    precision = np.arange(1, len(rows) + 1) / seen
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.arange(len(rows))
    best = np.where(precision >= envelope, places, len(rows))
    rank = np.minimum.accumulate(best[::-1])[::-1]  # whose precision the envelope is
    share = np.bincount(rank, minlength=len(rows)) / seen
    gained = np.cumsum(share[::-1])[::-1]
    lost = np.append(np.cumsum((share * precision)[::-1])[::-1], 0.0)
    result -= np.where(counted, lost[np.searchsorted(rows, np.arange(len(hit)))], 0.0)
    result[rows] += envelope + gained
    return float(envelope.sum()), result
