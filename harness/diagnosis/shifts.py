"""Masks that are off by a few pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from harness.core.rle_text import parse, spell, without_empty
from harness.diagnosis.case import Case
from harness.diagnosis.places import Undo
from harness.diagnosis.scoring import columns_of
from harness.measure.columns import Booleans, Floats, Integers, Mask
from harness.measure.greedy import SIZES, match

Shift = tuple[int, int]

#: Down and right, in px.
SHIFTS: tuple[Shift, ...] = tuple(
    (down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right
)

#: How much the mean IoU of matched masks must rise when all are moved by one pixel, and by how many
#: standard errors: masks that are off by half a pixel are as good on either side.
LEAST_RISE = 0.006
LEAST_ERRORS = 2.0

#: How many more masks must fit better when moved there than when moved the other way, in standard
#: errors of a fair coin. A mask that is wide of its object by many pixels says as much as others.
LEAST_SIGNS = 4.0

#: Matches that are looked at, and steps of one pixel.
LEAST_MATCHES, MOST_MATCHES = 30, 2000
MOST_STEPS = 16


def shift_of(case: Case, images: Booleans, watch: Callable[[], None]) -> Undo | None:
    """The pixels that masks are off by; None where moving them brings nothing.

    Args:
        case: Its masks are in the frames of their images.
        images: (M,) those to look at.
        watch: Called between the steps; what it raises ends them.
    """
    down, right, rise = 0, 0, 0.0
    for _ in range(MOST_STEPS):
        found, truth = _matched(_moved_case(case, down, right), images)
        watch()
        step = _step(found, truth, watch) if len(found) >= LEAST_MATCHES else None
        if step is None:
            break
        (more_down, more_right), more = step
        down, right, rise = down + more_down, right + more_right, rise + more
    if not down and not right:
        return None
    return Undo(
        name="masks-shifted",
        details=(
            f"{_spoken(-down, -right)}; the IoU of matched masks rises by {rise:.3f} when they are "
            "moved back"
        ),
        change=lambda given: _moved_case(given, down, right),
    )


def _moved_case(case: Case, down: int, right: int) -> Case:
    masks = case.rows.masks or ()
    return case.with_rows(masks=moved(masks, down, right)) if down or right else case


def _spoken(down: int, right: int) -> str:
    """Where masks are: "2 px down, 1 px to the left", say."""
    parts = [f"{abs(down)} px {'down' if down > 0 else 'up'}"] if down else []
    if right:
        parts.append(f"{abs(right)} px to the {'right' if right > 0 else 'left'}")
    return ", ".join(parts)


def _matched(case: Case, images: Booleans) -> tuple[list[Mask], list[Mask]]:
    """Masks and the objects that they match, of the surest predictions."""
    objects, results = columns_of(case, "segm", images, agnostic=False)
    matching = match(objects, results, ious=np.array([0.5]), sizes=(SIZES["all"],))
    matched = matching.object[0, 0]
    there = np.flatnonzero((matched >= 0) & matching.counted[0, 0])
    there = there[np.argsort(-results.score[matching.kept[there]], kind="stable")][:MOST_MATCHES]
    if results.masks is None or objects.masks is None:
        return [], []
    masks, truth = results.masks, objects.masks
    return (
        [masks[one] for one in matching.kept[there]],
        [truth[one] for one in matched[there]],
    )


def _step(
    found: Sequence[Mask], truth: Sequence[Mask], watch: Callable[[], None]
) -> tuple[Shift, float] | None:
    """The pixel by which moving all masks brings most, and how much; None where none does."""
    now = _pairwise(found, truth)
    fits: dict[Shift, Floats] = {}
    for shift in SHIFTS:
        watch()
        fits[shift] = _pairwise(moved(found, *shift), truth)
    root = np.sqrt(len(found))
    best: tuple[Shift, float] | None = None
    for shift in SHIFTS:
        rise, other = fits[shift] - now, fits[-shift[0], -shift[1]]
        mean = float(rise.mean())
        least = max(LEAST_RISE, LEAST_ERRORS * float(rise.std()) / root)
        signs = float(np.sign(fits[shift] - other).sum()) / root
        if mean >= least and signs >= LEAST_SIGNS and (best is None or mean > best[1]):
            best = (shift, mean)
    return best


def moved(masks: Sequence[Mask], down: int, right: int) -> tuple[Mask, ...]:
    """Masks moved by some pixels; what is moved over the lower edge comes in above,
    one column on.

    Args:
        masks: Compressed.
        down: Pixels, negative for up.
        right: Pixels, negative for left.
    """
    if not masks:
        return ()
    runs = parse([one["counts"] for one in masks])
    result = []
    for number, one in enumerate(masks):
        height, width = one["size"]
        lengths = _moved_runs(runs.of(number), down + right * height)
        result.append({"size": [height, width], "counts": spell(without_empty(lengths))})
    return tuple(result)


def _moved_runs(runs: Integers, distance: int) -> list[int]:
    """Run lengths that begin ``distance`` later, or earlier, cut at both ends."""
    total = int(runs.sum())
    edges = np.clip(np.cumsum(runs)[:-1] + distance, 0, total)
    return [int(one) for one in np.diff(edges, prepend=0, append=total)]


def _pairwise(found: Sequence[Mask], truth: Sequence[Mask]) -> Floats:
    """(n,) IoU of each pair of masks."""
    from pycocotools import mask as coco_mask

    return np.array(
        [coco_mask.iou([one], [other], [0])[0, 0] for one, other in zip(found, truth, strict=True)]
    )
