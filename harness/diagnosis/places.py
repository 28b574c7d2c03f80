"""Boxes that mean something else: other formats, and the frames of other images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from harness.core.printable import counted
from harness.diagnosis.case import Case
from harness.measure.columns import Booleans, Floats

#: (N, 4) boxes and (N, 2) height and width of their images → (N, 4) boxes.
Change = Callable[[Floats, Floats], Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """A fault of the catalogue with the numbers that undo it."""

    name: str
    """Of the hypothesis."""
    details: str
    """What was assumed, as the end of a sentence; empty where the name says it."""
    change: Callable[[Case], Case]
    """The case without it."""


def applied(case: Case, *undos: Undo | None) -> Case:
    """The case without several faults, undone one after the other; None is none.

    Args:
        case: With them.
        undos: What undoes them.
    """
    for undo in undos:
        if undo is not None:
            case = undo.change(case)
    return case


#: Lengths that images are resized to: squares and long edges of common recipes.
EDGES_PX: tuple[float, ...] = (
    *(300, 320, 384, 416, 448, 480, 512, 544, 550, 576, 600, 608, 640, 672, 700, 704, 736, 768),
    *(800, 832, 896, 960, 1024, 1152, 1216, 1280, 1333, 1536),
)

#: Width and height that images of all shapes are stretched to, besides squares: chosen here, common
#: sizes of video and cameras, and Detectron2's 800 and 1333 px. Others: by how far boxes reach.
RECTANGLES_PX: tuple[tuple[float, float], ...] = (
    *((640, 480), (480, 640), (1280, 720), (720, 1280), (1920, 1080), (1080, 1920)),
    *((640, 360), (1024, 768), (800, 600), (1333, 800), (800, 1333), (1280, 800), (960, 540)),
    *((512, 384), (320, 240), (416, 320), (1024, 512), (2048, 1024), (1000, 600)),
)

#: What Ultralytics and YOLOv5 pad the smaller side to a multiple of, in its least rectangle.
STRIDE_PX = 32

#: Short edge with the most that the long one may have.
SHORT_EDGES_PX: tuple[tuple[float, float], ...] = (
    *((800, 1333), (600, 1000), (640, 1333), (480, 1333), (400, 666), (512, 853)),
    *((800, 1024), (320, 640), (256, 1e9), (512, 1e9), (600, 1e9), (800, 1e9)),
)

#: Nothing in px is that small, and nothing from 0 to 1 that large.
MOST_NORMALISED = 1.5

#: A box that leaves its image by more than this was not cut at its edges.
OUTSIDE_PX = 3.0


def corners(boxes: Floats) -> Floats:
    """x1, y1, x2, y2 as x, y, width, height."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def flipped_corners(boxes: Floats) -> Floats:
    """y1, x1, y2, x2 as x, y, width, height."""
    return corners(boxes[:, [1, 0, 3, 2]])


def centred(boxes: Floats) -> Floats:
    """Centre and size as corner and size."""
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]], axis=1)


def swapped(boxes: Floats) -> Floats:
    """y, x, height, width as x, y, width, height."""
    return boxes[:, [1, 0, 3, 2]]


FORMATS: dict[str, Callable[[Floats], Floats]] = {
    "xyxy": corners,
    "yxyx": flipped_corners,
    "centre": centred,
    "swapped-axes": swapped,
}


def formats() -> Iterator[Undo | None]:
    """Nothing, then each format that boxes may be in instead of x, y, width, height."""
    yield None
    for name, change in FORMATS.items():
        yield Undo(name=name, details="", change=partial(_reformatted, change))


def frames(case: Case) -> Iterator[Undo]:
    """Each frame that boxes may be in instead of their image's, as far as they can be.

    Args:
        case: Its boxes are x, y, width, height.
    """
    if len(case.rows) == 0 or not case.rows.has_boxes:
        return
    if is_normalised(case):
        yield Undo(
            name="normalised", details="", change=_boxes(lambda boxes, size: boxes * _wh(size))
        )
        return
    for edge in dict.fromkeys((*EDGES_PX, *_reached(case))):
        yield _frame("resized-frame", f"long edge {edge:g} px", partial(_long_edge, edge))
        yield Undo(
            name="resized-frame",
            details=f"{edge:g} × {edge:g} px, stretched",
            change=_boxes(partial(_unstretched, edge)),
        )
        yield _frame(
            "letterboxed-frame",
            f"{edge:g} × {edge:g} px with padding on both sides",
            partial(_long_edge, edge),
            padded_px=edge,
        )
        yield Undo(
            name="letterboxed-frame",
            details=f"long edge {edge:g} px with padding to multiples of {STRIDE_PX} px",
            change=_boxes(partial(_unpadded, edge)),
        )
    reached = _reached(case)
    for rectangle in dict.fromkeys((*RECTANGLES_PX, *([reached] if len(reached) == 2 else []))):
        yield Undo(
            name="resized-frame",
            details=f"{rectangle[0]:g} × {rectangle[1]:g} px, stretched",
            change=_boxes(partial(_unstretched_to, rectangle)),
        )
    for short, longest in SHORT_EDGES_PX:
        text = f"short edge {short:g} px" + (f", at most {longest:g} px" if longest < 1e9 else "")
        yield _frame("resized-frame", text, partial(_short_edge, short, longest))
    for factor in (0.25, 0.5, 2.0, 4.0):
        yield _frame("resized-frame", f"{factor:g} times as large", partial(_constant, factor))
    yield from _of_turned_images()


def _of_turned_images() -> Iterator[Undo]:
    """Frames of images that were mirrored or turned, all of them."""
    for text, change in (("left and right", mirrored), ("top and bottom", flipped)):
        yield Undo(name="mirrored-frame", details=text, change=_boxes(change))
    for quarters in (1, 2, 3):
        yield Undo(
            name="turned-frame",
            details=f"all images, by {90 * quarters}°",
            change=_boxes(partial(_turned_all, quarters)),
        )


def _reformatted(change: Callable[[Floats], Floats], case: Case) -> Case:
    return case.with_rows(boxes=change(case.rows.boxes))


def _long_edge(edge: float, size: Floats) -> Floats:
    factor: Floats = edge / size.max(axis=1)
    return factor


def _short_edge(short: float, longest: float, size: Floats) -> Floats:
    factor: Floats = np.minimum(short / size.min(axis=1), longest / size.max(axis=1))
    return factor


def _constant(factor: float, size: Floats) -> Floats:
    return np.full(len(size), factor)


def _unstretched(edge: float, boxes: Floats, size: Floats) -> Floats:
    return boxes * _wh(size) / edge


def _unstretched_to(rectangle: Sequence[float], boxes: Floats, size: Floats) -> Floats:
    result: Floats = boxes * _wh(size) / np.tile(np.array(rectangle), 2)
    return result


def _unpadded(edge: float, boxes: Floats, size: Floats) -> Floats:
    """Without the padding of the least rectangle of whole strides, and as large as the image."""
    scale = _long_edge(edge, size)[:, None]
    left_top = (-np.round(size[:, ::-1] * scale)) % STRIDE_PX / 2
    return np.concatenate([boxes[:, :2] - left_top, boxes[:, 2:]], axis=1) / scale


def _turned_all(quarters: int, boxes: Floats, size: Floats) -> Floats:
    return turned(boxes, size, quarters)


def is_normalised(case: Case) -> bool:
    """Whether (nearly) no coordinate is above 1.5."""
    return bool(np.percentile(np.abs(case.rows.boxes), 99.5) <= MOST_NORMALISED)


def has_sizes(case: Case) -> bool:
    """Whether nearly all boxes have a width and a height."""
    return bool((case.rows.boxes[:, 2:] > 0).all(axis=1).mean() > 0.9) if len(case.rows) else False


def is_possible(case: Case) -> bool:
    """Whether boxes are about as large as their images: a cheap look before scoring."""
    boxes, size = case.rows.boxes, case.sizes_px
    if len(boxes) == 0:
        return False
    inside = (boxes[:, :2] + boxes[:, 2:] / 2) / _wh(size)[:, :2]
    there = ((inside > -0.02) & (inside < 1.02)).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)
    reach = np.percentile((boxes[:, :2] + boxes[:, 2:]) / _wh(size)[:, :2], 98, axis=0)
    return bool(there.mean() > 0.9 and (reach > 0.5).all() and (reach < 1.15).all())


def turned(boxes: Floats, size: Floats, quarters: int) -> Floats:
    """Boxes of an image that is not turned yet, in the turned one.

    Args:
        boxes: (N, 4) x, y, width, height.
        size: (N, 2) height and width of the turned image.
        quarters: Turns by 90° clockwise that display it.
    """
    x, y, width, height = boxes.T
    tall, wide = size.T
    if quarters == 1:
        return np.stack([wide - y - height, x, height, width], axis=1)
    if quarters == 2:
        return np.stack([wide - x - width, tall - y - height, width, height], axis=1)
    return np.stack([y, tall - x - width, height, width], axis=1)


def mirrored(boxes: Floats, size: Floats) -> Floats:
    """Boxes with left and right exchanged; ``size`` is the images' height and width."""
    x, y, width, height = boxes.T
    return np.stack([size[:, 1] - x - width, y, width, height], axis=1)


def flipped(boxes: Floats, size: Floats) -> Floats:
    """Boxes with top and bottom exchanged; ``size`` is the images' height and width."""
    x, y, width, height = boxes.T
    return np.stack([x, size[:, 0] - y - height, width, height], axis=1)


def leaving(case: Case) -> Booleans:
    """(M,) the images whose boxes leave them and would not leave the turned ones."""
    position, boxes, size = case.position, case.rows.boxes, case.sizes_px
    end = boxes[:, :2] + boxes[:, 2:]
    outside = (end > _wh(size)[:, :2] + OUTSIDE_PX).any(axis=1)
    inside = (end <= size + OUTSIDE_PX).all(axis=1) & (boxes[:, :2] >= -OUTSIDE_PX).all(axis=1)
    count = len(case.truth.image_ids)
    known = position >= 0
    out = np.bincount(position[known & outside], minlength=count)
    bad = np.bincount(position[known & ~inside], minlength=count)
    found: Booleans = (out > 0) & (bad == 0)
    return found


def some_turned(case: Case, quarters: int) -> Undo:
    """The images whose boxes leave them, turned.

    Args:
        case: Its boxes are x, y, width, height.
        quarters: Turns by 90° clockwise.
    """
    images = leaving(case)

    def change(given: Case) -> Case:
        rows = given.rows
        mine = (given.position >= 0) & images[np.maximum(given.position, 0)]
        boxes = np.where(mine[:, None], turned(rows.boxes, given.sizes_px, quarters), rows.boxes)
        return given.with_rows(boxes=boxes)

    details = f"{counted(int(images.sum()), 'image')}, by {90 * quarters}°"
    return Undo(name="turned-frame", details=details, change=change)


def _boxes(change: Change) -> Callable[[Case], Case]:
    def apply(case: Case) -> Case:
        return case.with_rows(boxes=change(case.rows.boxes, case.sizes_px))

    return apply


def _frame(
    name: str,
    details: str,
    factor: Callable[[Floats], Floats],
    *,
    padded_px: float | None = None,
) -> Undo:
    """A resized frame, with padding to a square of ``padded_px`` where that is given."""

    def change(boxes: Floats, size: Floats) -> Floats:
        scale = factor(size)[:, None]
        result: Floats = boxes / scale
        if padded_px is not None:
            result[:, :2] -= (padded_px / scale - _wh(size)[:, :2]) / 2
        return result

    return Undo(name=name, details=details, change=_boxes(change))


def _wh(size: Floats) -> Floats:
    """(N, 2) height and width as (N, 4) width, height, width, height."""
    return size[:, [1, 0, 1, 0]]


def _reached(case: Case) -> tuple[float, ...]:
    """How far boxes reach at most, rounded: the edge of the frame they were cut at."""
    ends = case.rows.boxes[:, :2] + case.rows.boxes[:, 2:]
    return tuple(float(round(one)) for one in ends.max(axis=0) if 16 <= one <= 20_000)
