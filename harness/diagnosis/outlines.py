"""Masks in another frame than their image's, and masks that are off by a pixel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from harness.core.rle_text import parse, spell, without_empty
from harness.core.run_lengths import Rle, decode
from harness.diagnosis.case import Case, enclosing
from harness.diagnosis.places import Undo
from harness.diagnosis.scoring import columns_of
from harness.measure.columns import Booleans, Floats, Integers, Mask
from harness.measure.greedy import SIZES, match
from harness.measure.masks import encode_region

#: Down and right, in px.
SHIFTS = tuple((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right)

#: How much the mean IoU of matched masks must rise, and how many more of them must rise than fall,
#: in standard errors of a fair coin.
LEAST_RISE = 0.006
LEAST_SIGNS = 3.0

#: Matches that are looked at.
LEAST_MATCHES = 30


def of_another_size(case: Case) -> Booleans:
    """(N,) masks that are not of the size of their image.

    Args:
        case: Its image ids are right.
    """
    sizes = np.array([one["size"] for one in case.rows.masks or ()], dtype=np.int64).reshape(-1, 2)
    wrong: Booleans = (case.position >= 0) & (sizes != case.sizes_px.astype(np.int64)).any(axis=1)
    return wrong


def other_sizes(case: Case, wrong: Booleans) -> Iterator[Undo]:
    """What masks may be that are not of the size of their images.

    Args:
        case: Its image ids are right.
        wrong: (N,) those masks; some are.
    """
    sizes = np.array([one["size"] for one in case.rows.masks or ()], dtype=np.int64)[wrong]
    details = f"{int(wrong.sum())} mask(s), the first of {sizes[0][0]} × {sizes[0][1]}"
    if (sizes == case.sizes_px[wrong][:, ::-1]).all():
        yield Undo(name="masks-transposed", details=details, change=_each(_transposed))
        for quarters in (1, 3):
            yield Undo(
                name="masks-turned",
                details=f"{details}, by {90 * quarters}°",
                change=_each(partial(_turned, quarters)),
            )
    yield Undo(name="masks-resized", details=details, change=_each(_resized))
    for text, both in (("with padding on both sides", True), ("with padding at the end", False)):
        yield Undo(
            name="masks-resized",
            details=f"{details}, {text}",
            change=_each(partial(_unpadded, both)),
        )


def other_orders() -> Iterator[Undo]:
    """What masks of the size of their images may be that are not at objects."""
    for name, details, change in (
        ("masks-transposed", "pixels row by row, of the right size", _read_in_rows),
        ("masks-transposed", "run lengths read row by row, of the right size", _read_in_columns),
        ("masks-transposed", "rows and columns swapped, then resized", _transposed),
        ("masks-turned", "all images, by 180°", partial(_turned, 2)),
    ):
        yield Undo(name=name, details=details, change=_each(change, all_masks=True))


def shift_of(case: Case, images: Booleans) -> Undo | None:
    """The pixel that masks are off by; None where moving them brings nothing.

    Args:
        case: Its masks are in the frames of their images.
        images: (M,) those to look at.
    """
    objects, results = columns_of(case, "segm", images, agnostic=False)
    matching = match(objects, results, ious=np.array([0.5]), sizes=(SIZES["all"],))
    matched = matching.object[0, 0]
    there = np.flatnonzero((matched >= 0) & matching.counted[0, 0])
    if len(there) < LEAST_MATCHES or results.masks is None or objects.masks is None:
        return None
    found = [results.masks[one] for one in matching.kept[there]]
    truth = [objects.masks[one] for one in matched[there]]
    now = _pairwise(found, truth)
    best: tuple[float, tuple[int, int]] = (0.0, (0, 0))
    for shift in SHIFTS:
        rise = _pairwise(moved(found, *shift), truth) - now
        mean = float(rise.mean())
        # A few thin masks change much: what counts is that most of them fit better.
        signs = float(np.sign(rise).sum() / np.sqrt(len(rise)))
        if mean >= LEAST_RISE and signs >= LEAST_SIGNS and mean > best[0]:
            best = (mean, shift)
    if best[0] == 0:
        return None
    down, right = best[1]
    return Undo(
        name="masks-shifted",
        details=(
            f"{-down:+d} px down, {-right:+d} px right; the IoU of matched masks rises by "
            f"{best[0]:.3f} without"
        ),
        change=lambda given: given.with_rows(masks=moved(given.rows.masks or (), down, right)),
    )


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


Pixels = npt.NDArray[np.bool_]


def _each(
    change: Callable[[Pixels, tuple[int, int]], Pixels], *, all_masks: bool = False
) -> Callable[[Case], Case]:
    """A change of the pixels of every mask, or of those that are not of the size of their image.

    Boxes that the masks are known by are those of the changed ones. Each mask is changed once: one
    takes a millisecond or two, and there are thousands of them.
    """
    known: dict[tuple[str, int, int, int, int], Mask] = {}

    def apply(given: Case) -> Case:
        masks = []
        sizes = given.sizes_px.astype(int).tolist()
        for one, (height, width) in zip(given.rows.masks or (), sizes, strict=True):
            tall, wide = one["size"]
            if not all_masks and (tall, wide) == (height, width):
                masks.append(one)
                continue
            key = (one["counts"], tall, wide, height, width)
            if key not in known:
                pixels = change(decode(Rle(tall, wide, one["counts"])), (height, width))
                rle = encode_region(pixels, top_px=0, left_px=0, height_px=height, width_px=width)
                known[key] = {"size": [height, width], "counts": rle.counts}
            masks.append(known[key])
        boxes = given.rows.boxes if given.rows.has_boxes else enclosing(masks)
        return given.with_rows(masks=tuple(masks), boxes=boxes)

    return apply


def _transposed(pixels: Pixels, size_px: tuple[int, int]) -> Pixels:
    return pixels.T if pixels.T.shape == size_px else _resized(pixels.T, size_px)


def _turned(quarters: int, pixels: Pixels, size_px: tuple[int, int]) -> Pixels:
    """Turned by 90° clockwise, as often as ``quarters`` says."""
    turned = np.rot90(pixels, -quarters)
    return turned if turned.shape == size_px else _resized(turned, size_px)


def _read_in_rows(pixels: Pixels, size_px: tuple[int, int]) -> Pixels:
    """Pixels down the columns put along the rows: they were written in that order."""
    fitting = pixels if pixels.shape == size_px else _resized(pixels, size_px)
    return fitting.reshape(-1, order="F").reshape(size_px)


def _read_in_columns(pixels: Pixels, size_px: tuple[int, int]) -> Pixels:
    """Pixels along the rows put down the columns: they were read in that order."""
    fitting = pixels if pixels.shape == size_px else _resized(pixels, size_px)
    return fitting.reshape(-1).reshape(size_px, order="F")


def _unpadded(both: bool, pixels: Pixels, size_px: tuple[int, int]) -> Pixels:
    """What is not padding, on both sides or at the end, resized."""
    scale = min(of / to for of, to in zip(pixels.shape, size_px, strict=True))
    tall, wide = (max(1, round(to * scale)) for to in size_px)
    top, left = (
        (of - to) // 2 if both else 0 for of, to in zip(pixels.shape, (tall, wide), strict=True)
    )
    return _resized(pixels[top : top + tall, left : left + wide], size_px)


def _resized(pixels: Pixels, size_px: tuple[int, int]) -> Pixels:
    """The nearest pixels of a mask of another size."""
    rows, columns = (
        np.minimum((np.arange(to) + 0.5) * of / to, of - 1).astype(np.int64)
        for to, of in zip(size_px, pixels.shape, strict=True)
    )
    result: Pixels = pixels[rows][:, columns]
    return result
