"""Masks in another frame than their image's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
import numpy.typing as npt

from harness.core.printable import counted
from harness.core.run_lengths import Rle, decode
from harness.diagnosis.case import Case, enclosing
from harness.diagnosis.places import Undo
from harness.measure.columns import Booleans, Mask
from harness.measure.masks import encode_region


def of_another_size(case: Case) -> Booleans:
    """(N,) masks that are not of the size of their image.

    Args:
        case: Its image ids are right.
    """
    sizes = np.array([one["size"] for one in case.rows.masks or ()], dtype=np.int64).reshape(-1, 2)
    wrong: Booleans = (case.position >= 0) & (sizes != case.sizes_px.astype(np.int64)).any(axis=1)
    return wrong


def other_sizes(case: Case, wrong: Booleans, watch: Watch) -> Iterator[Undo]:
    """What masks may be that are not of the size of their images.

    Args:
        case: Its image ids are right.
        wrong: (N,) those masks; some are.
        watch: Called before each mask; what it raises ends the change.
    """
    sizes = np.array([one["size"] for one in case.rows.masks or ()], dtype=np.int64)[wrong]
    details = f"{counted(int(wrong.sum()), 'mask')}, the first of {sizes[0][0]} × {sizes[0][1]}"
    changes: list[tuple[str, str, PixelChange]] = []
    if (sizes == case.sizes_px[wrong][:, ::-1]).all():
        changes += [("masks-transposed", details, _transposed)]
        changes += [
            ("masks-turned", f"{details}, by {90 * quarters}°", partial(_turned, quarters))
            for quarters in (1, 3)
        ]
    changes += [
        ("masks-resized", details, _resized),
        ("masks-resized", f"{details}, with padding on both sides", partial(_unpadded, True)),
        ("masks-resized", f"{details}, with padding at the end", partial(_unpadded, False)),
    ]
    for name, text, change in changes:
        applied = _each(_always(change), of_another_size, watch)
        yield Undo(name=name, details=text, change=applied)


def other_orders(watch: Watch) -> Iterator[Undo]:
    """What masks of the size of their images may be that are not at objects.

    Args:
        watch: Called before each mask; what it raises ends the change.
    """
    changes: tuple[tuple[str, str, PixelChange], ...] = (
        ("masks-transposed", "pixels row by row, of the right size", _read_in_rows),
        ("masks-transposed", "run lengths read row by row, of the right size", _read_in_columns),
        ("masks-transposed", "rows and columns swapped, then resized", _transposed),
        ("masks-turned", "all images, by 180°", partial(_turned, 2)),
    )
    for name, details, change in changes:
        applied = _each(_always(change), _every, watch)
        yield Undo(name=name, details=details, change=applied)


def by_outlines(case: Case) -> Case:
    """The case with the boxes around its masks, which are of the size of their images.

    Args:
        case: Any with masks.
    """
    return case.with_rows(boxes=enclosing(case.rows.masks or ()), has_boxes=True)


def drawn_elsewhere(frame: Undo, watch: Watch) -> Undo:
    """Masks of the size of their images with what is in them drawn in another frame.

    Args:
        frame: What takes boxes from that frame to their image.
        watch: Called before each mask; what it raises ends the change.
    """
    return Undo(
        name="masks-resized",
        details=f"drawn in another frame, in masks of the right size: {frame.details}",
        change=_each(
            lambda given: partial(_from_frame, _frame_by_size(frame, given)), _every, watch
        ),
    )


def half_turned(upside: Booleans, watch: Watch) -> Undo:
    """Masks of some images turned by 180°.

    Args:
        upside: (M,) those images.
        watch: Called before each mask; what it raises ends the change.
    """

    def wanted(given: Case) -> Booleans:
        position = given.position
        found: Booleans = (position >= 0) & upside[np.maximum(position, 0)]
        return found

    return Undo(
        name="masks-turned",
        details=f"{counted(int(upside.sum()), 'image')}, by 180°",
        change=_each(_always(partial(_turned, 2)), wanted, watch),
    )


Pixels = npt.NDArray[np.bool_]
SizePx = tuple[int, int]

#: The pixels of a mask, and the height and width of its image → pixels of that size.
PixelChange = Callable[[Pixels, SizePx], Pixels]

#: A look at the clock.
Watch = Callable[[], None]


def _always(change: PixelChange) -> Callable[[Case], PixelChange]:
    return lambda _: change


def _every(case: Case) -> Booleans:
    return np.ones(len(case.rows), dtype=bool)


def _each(
    prepared: Callable[[Case], PixelChange], wanted: Callable[[Case], Booleans], watch: Watch
) -> Callable[[Case], Case]:
    """A change of the pixels of some masks.

    Boxes that the masks are known by are those of the changed ones. Each mask is changed once: one
    takes a millisecond or two, more on large images, and there are thousands of them.
    """
    known: dict[tuple[str, int, int, int, int], Mask] = {}

    def apply(given: Case) -> Case:
        change = prepared(given)
        masks = []
        sizes = given.sizes_px.astype(int).tolist()
        chosen = wanted(given).tolist()
        for one, (height, width), mine in zip(given.rows.masks or (), sizes, chosen, strict=True):
            tall, wide = one["size"]
            if not mine:
                masks.append(one)
                continue
            key = (one["counts"], tall, wide, height, width)
            if key not in known:
                watch()
                pixels = change(decode(Rle(tall, wide, one["counts"])), (height, width))
                rle = encode_region(pixels, top_px=0, left_px=0, height_px=height, width_px=width)
                known[key] = {"size": [height, width], "counts": rle.counts}
            masks.append(known[key])
        boxes = given.rows.boxes if given.rows.has_boxes else enclosing(masks)
        return given.with_rows(masks=tuple(masks), boxes=boxes)

    return apply


def _frame_by_size(frame: Undo, given: Case) -> dict[SizePx, tuple[float, ...]]:
    """Left, top, width and height in px of the image of one pixel at the frame's origin."""
    sizes = given.sizes_px.astype(int)
    rows = np.unique(sizes, axis=0, return_index=True)[1]
    some = given.taking(rows)
    unit = some.with_rows(boxes=np.tile(np.array([0.0, 0.0, 1.0, 1.0]), (len(rows), 1)))
    boxes = frame.change(unit).rows.boxes.tolist()
    return {
        (height, width): tuple(box)
        for (height, width), box in zip(sizes[rows].tolist(), boxes, strict=True)
    }


def _from_frame(
    frames: Mapping[SizePx, tuple[float, ...]], pixels: Pixels, size_px: SizePx
) -> Pixels:
    """The nearest pixels of a mask that is drawn in another frame; nothing where it has none."""
    left, top, wide, tall = frames[size_px]
    places = []
    for length, begin, each, of in (
        (size_px[0], top, tall, pixels.shape[0]),
        (size_px[1], left, wide, pixels.shape[1]),
    ):
        there = np.floor((np.arange(length) + 0.5 - begin) / each).astype(np.int64)
        to = np.flatnonzero((there >= 0) & (there < of))
        places.append((to, there[to]))
    (rows, from_rows), (columns, from_columns) = places
    result = np.zeros(size_px, dtype=bool)
    result[np.ix_(rows, columns)] = pixels[np.ix_(from_rows, from_columns)]
    return result


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
