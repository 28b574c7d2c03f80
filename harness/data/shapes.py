"""Masks and keypoints of annotation and prediction files: which are valid, and in canonical form.

Whatever passes here may be handed to code in C: its runs cover the image, its polygons are near it,
its text is spelled as pycocotools spells it.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, chain
from typing import Any

from harness.core.dataset import Category
from harness.core.printable import shown
from harness.core.rle_text import canonical, parse, sums_of, without_empty
from harness.core.run_lengths import run_lengths
from harness.files.environment import usable_cpus
from harness.measure.keypoints import SIGMAS_KEY, visible_count
from harness.measure.masks import drawing_fault

NUMBERS = frozenset((int, float))

#: Characters of masks that are parsed at once: their arrays stay in a processor's cache, and those
#: of hundreds of thousands of masks would take gigabytes.
BLOCK_CHARACTERS = 50_000


def finite(numbers: Any) -> bool:
    """True for a list of numbers, none NaN, infinite, a truth value or too long for a float."""
    try:
        return NUMBERS.issuperset(map(type, numbers)) and math.isfinite(sum(numbers))
    except (TypeError, OverflowError):
        return False


def whole(value: Any) -> int | None:
    """A number without a fraction as an integer; None for anything else.

    1.0 is 1, as it is for pycocotools; a float beyond 2⁵³ may stand for several integers.
    """
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer() and abs(value) <= 2**53:
        return int(value)
    return None


def segmentation_fault(segmentation: Any, height_px: int, width_px: int) -> str | None:
    """Why a segmentation is invalid, as the end of a sentence; None when it is valid.

    Run lengths that do not add up to the image are an error: evaluators never return from them.

    Args:
        segmentation: As parsed from JSON; None for an object without a mask.
        height_px: Height of its image.
        width_px: Width of its image.
    """
    match segmentation:
        case None:
            return None
        case list():
            return _polygons_fault(segmentation)
        case {"size": size, "counts": str() | list() as counts}:
            fault = _size_fault(size, height_px, width_px)
            if fault is not None:
                return fault
            runs = run_lengths(counts if isinstance(counts, str) else _integers(counts))
            total = -1 if runs is None else sum(runs)
            fits = total == height_px * width_px
            return None if fits else _runs_fault(counts, total, height_px, width_px)
        case _:
            return f"has the segmentation {shown(segmentation)}; expected polygons or run lengths"


def _polygons_fault(segmentation: list[Any]) -> str | None:
    if not all(isinstance(one, list | array) and finite(one) for one in segmentation):
        return "has a segmentation that is not a list of polygons of finite numbers"
    return drawing_fault(segmentation)


def _size_fault(size: Any, height_px: int, width_px: int) -> str | None:
    if not isinstance(size, list) or [whole(side) for side in size] != [height_px, width_px]:
        turned = size == [width_px, height_px]
        return f"has a mask of size {shown(size)} in an image of {[height_px, width_px]}" + (
            ": a size is height and width, in this order" if turned else ""
        )
    return None


def _runs_fault(counts: Any, total: int, height_px: int, width_px: int) -> str:
    found = "no run lengths" if total < 0 else f"run lengths of {total} px"
    fault = f"has {found} for a mask of {height_px} × {width_px} px"
    if isinstance(counts, str) and counts.startswith(("b'", 'b"')):
        return f"{fault}: its counts are how Python prints bytes; write counts.decode('ascii')"
    return fault


def _integers(counts: Sequence[Any]) -> list[Any]:
    """Run lengths without needless fractions."""
    return [count if type(count) is int else whole(count) for count in counts]


class Masks:
    """Segmentations of many rows: checked as they come, their texts all at once in the end."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._rows: list[dict[str, Any]] = []
        self._positions: list[int] = []
        self._sizes: list[tuple[int, int]] = []

    def fault(
        self, position: int, row: dict[str, Any], height_px: int, width_px: int
    ) -> str | None:
        """What is wrong with the segmentation of a row; None when nothing is, as far as was looked.

        Puts sizes and lists of run lengths into their canonical form.

        Args:
            position: Position of the row, for ``text_fault``.
            row: Row of an annotation or prediction; without a segmentation nothing is wrong.
            height_px: Height of its image.
            width_px: Width of its image.
        """
        segmentation = row.get("segmentation")
        if isinstance(segmentation, list):
            return _polygons_fault(segmentation)
        if not isinstance(segmentation, dict) or not {"size", "counts"} <= segmentation.keys():
            return segmentation_fault(segmentation, height_px, width_px)
        size, counts = segmentation["size"], segmentation["counts"]
        if not isinstance(counts, str):
            fault = segmentation_fault(segmentation, height_px, width_px)
            if fault is None:
                runs = without_empty(_integers(counts))
                row["segmentation"] = {"size": [height_px, width_px], "counts": runs}
            return fault
        if size != [height_px, width_px] or type(size[0]) is not int or type(size[1]) is not int:
            fault = _size_fault(size, height_px, width_px)
            if fault is not None:
                return fault
            row["segmentation"] = {"size": [height_px, width_px], "counts": counts}
        self._texts.append(counts)
        self._rows.append(row)
        self._positions.append(position)
        self._sizes.append((height_px, width_px))
        return None

    def taken(
        self, rows: Sequence[dict[str, Any]], sizes: Mapping[int, tuple[int, int]], *, first: int
    ) -> bool:
        """Look at every row at once, column by column; whether all masks are as they should be.

        Args:
            rows: Predictions of images that are known.
            sizes: (height, width) of each image by its id.
            first: Position of the first of the rows, for ``text_fault``.

        Returns:
            True where all rows, or none, have a mask of compressed run lengths with the size of its
            image. False where some have another: nothing is remembered then.
        """
        masks = [row["segmentation"] for row in rows if "segmentation" in row]
        if not masks:
            return True
        if len(masks) != len(rows) or set(map(type, masks)) != {dict}:
            return False
        try:
            texts, sides = [mask["counts"] for mask in masks], [mask["size"] for mask in masks]
        except KeyError:
            return False
        listed = {image: list(size) for image, size in sizes.items()}
        if set(map(type, texts)) != {str} or set(map(type, sides)) != {list}:
            return False
        if sides != [listed[row["image_id"]] for row in rows]:
            return False
        if set(map(type, chain.from_iterable(sides))) != {int}:
            return False
        self._texts += texts
        self._rows += rows
        self._positions += range(first, first + len(rows))
        self._sizes += [sizes[row["image_id"]] for row in rows]
        return True

    def text_fault(self, *, watch: Callable[[], None] = lambda: None) -> tuple[int, str] | None:
        """The first row, by its position, whose text is wrong, and how; None when all are right.

        Where all are right, every text is canonical then.

        Args:
            watch: Called after each block of texts; what it raises ends the check.
        """
        with ThreadPoolExecutor(usable_cpus()) as pool:  # NumPy lets other threads run
            for fault in pool.map(self._fault_in, self._blocks()):
                watch()
                if fault is not None:
                    return fault
        return None

    def _blocks(self) -> Iterator[slice]:
        """Some of the texts after the other; one at least is in each."""
        ends = list(accumulate(map(len, self._texts)))
        begin = 0
        while begin < len(ends):
            before = ends[begin - 1] if begin else 0
            end = max(begin + 1, bisect_right(ends, before + BLOCK_CHARACTERS))
            yield slice(begin, end)
            begin = end

    def _fault_in(self, block: slice) -> tuple[int, str] | None:
        """As ``text_fault``, of some of the texts."""
        texts, sizes = self._texts[block], self._sizes[block]
        runs = parse(texts)
        sums = sums_of(runs)
        sums[~runs.readable] = -1
        found, expected = sums.tolist(), [height * width for height, width in sizes]
        # All at once, for threads hold Python's lock in a loop.
        if found != expected:
            wrong = [one != other for one, other in zip(found, expected, strict=True)].index(True)
            fault = _runs_fault(texts[wrong], found[wrong], *sizes[wrong])
            return self._positions[block][wrong], fault
        spelled = canonical(texts, runs)
        if spelled != texts:
            for row, text in zip(self._rows[block], spelled, strict=True):
                row["segmentation"] = {"size": row["segmentation"]["size"], "counts": text}
        return None


#: Farther away than this no point is of an image; a float32 misses whole pixels there.
FARTHEST_PX = 1e7


#: What a category says of its keypoints.
CATEGORY_KEYS = ("keypoints", "skeleton", SIGMAS_KEY)


class KeypointRows:
    """Checks the keypoints of rows one after the other: all must have as many.

    Args:
        labelled: Whether the third number of a point is its visibility 0, 1 or 2, as in
            annotations, rather than a score.
        count: How many keypoints every row must have; None for those of the first.
        names: How many keypoints a category names, by its id; rows of others have any number.
    """

    def __init__(
        self, *, labelled: bool, count: int | None = None, names: Mapping[Any, int] | None = None
    ) -> None:
        self._labelled = labelled
        self._count = count
        self._names = names or {}

    def fault(self, row: dict[str, Any]) -> str | None:
        """What is wrong with the keypoints of a row, as the end of a sentence; None for nothing.

        An annotation without any, or with null, has none labelled. In annotations,
        ``num_keypoints`` is counted again: evaluators go by it, training by the points.
        """
        points = row.get("keypoints")
        if points is None or points == []:
            row.pop("keypoints", None)
            return None
        if not isinstance(points, list) or len(points) % 3 or not finite(points):
            return f"has the keypoints {shown(points)}; expected numbers x, y, v, x, y, v, …"
        if max(points) > FARTHEST_PX or min(points) < -FARTHEST_PX:
            return f"has a keypoint farther than {FARTHEST_PX:,.0f} px away: {shown(points)}"
        count = len(points) // 3
        if self._count is None:
            self._count = count
        if count != self._count:
            return f"has {count} keypoints, others have {self._count}; all must have as many"
        named = self._names.get(row.get("category_id"), count)
        if count != named:
            return f"has {count} keypoints, and its category names {named}"
        if self._labelled:
            wrong = next((flag for flag in points[2::3] if flag not in (0, 1, 2)), None)
            if wrong is not None:
                return (
                    f"has the visibility {shown(wrong)}; expected 0 (not labelled), 1 (hidden) or "
                    "2 (visible)"
                )
            row["num_keypoints"] = visible_count(points)
        return None


def named_keypoints(categories: Iterable[Mapping[str, Any]]) -> dict[Any, int]:
    """How many keypoints each category names, by its id; those that name none are left out."""
    return {row["id"]: len(row["keypoints"]) for row in categories if row.get("keypoints")}


def category_fault(category: Mapping[str, Any]) -> str | None:
    """What is wrong with the keypoint names, the skeleton or the sigmas of a category; None for
    nothing, and where it has none.
    """
    names, sigmas = category.get("keypoints"), category.get(SIGMAS_KEY)
    if names is not None and not (
        isinstance(names, list) and all(isinstance(one, str) for one in names)
    ):
        return f"has the keypoints {shown(names)}; expected a list of names"
    bones = category.get("skeleton")
    if bones is not None and not _is_skeleton(bones, len(names or ())):
        return (
            f"has the skeleton {shown(bones)}; expected pairs of keypoints, counted from 1 to "
            f"{len(names or ())}"
        )
    if sigmas is not None and not (
        isinstance(sigmas, list) and finite(sigmas) and all(one > 0 for one in sigmas)
    ):
        return f"has the {SIGMAS_KEY} {shown(sigmas)}; expected a list of positive numbers"
    return None


def _is_skeleton(bones: Any, count: int) -> bool:
    return isinstance(bones, list) and all(
        isinstance(bone, list)
        and len(bone) == 2
        and all(1 <= (whole(end) or 0) <= count for end in bone)
        for bone in bones
    )


def category_of(row: Mapping[str, Any], keypoints: int = 0) -> Category:
    """A category of an annotation file that was checked.

    Args:
        row: As the file lists it.
        keypoints: How many the objects of its file have. Without names they are called by their
            numbers; so they are where it names as many as no object has, and none is of it.
    """
    names, bones = row.get("keypoints") or (), row.get("skeleton") or ()
    if keypoints and len(names) != keypoints:
        names, bones = [str(number) for number in range(1, keypoints + 1)], ()
    return Category(
        row["id"],
        row["name"],
        tuple(names),
        tuple((int(first), int(second)) for first, second in bones),
    )


def flip_order(names: Sequence[str]) -> tuple[int, ...]:
    """Where each keypoint's number comes from when left and right are swapped.

    ``left_eye`` and ``right_eye`` change places, as in Detectron2's ``keypoint_flip_map``; what has
    no counterpart stays.

    Args:
        names: Names of the keypoints, in order.
    """
    places = {name: place for place, name in enumerate(names)}
    return tuple(places.get(_mirrored(name), place) for place, name in enumerate(names))


def _mirrored(name: str) -> str:
    for one, other in (("left", "right"), ("right", "left")):
        if one in name:
            return name.replace(one, other)
        if one.capitalize() in name:
            return name.replace(one.capitalize(), other.capitalize())
    return name
