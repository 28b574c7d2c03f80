"""Keypoints of annotation files and of predictions: checked, and the skeletons of categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.core.dataset import Category
from harness.core.shown import shown
from harness.data.segmentations import finite, whole
from harness.measure.keypoints import SIGMAS_KEY, visible_count

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
    """

    def __init__(self, *, labelled: bool, count: int | None = None) -> None:
        self._labelled = labelled
        self._count = count

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
        if self._labelled:
            wrong = next((flag for flag in points[2::3] if flag not in (0, 1, 2)), None)
            if wrong is not None:
                return (
                    f"has the visibility {shown(wrong)}; expected 0 (not labelled), 1 (hidden) or "
                    "2 (visible)"
                )
            row["num_keypoints"] = visible_count(points)
        return None


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
        keypoints: How many its objects have; without names they are called by their numbers.
    """
    names = row.get("keypoints") or [str(number) for number in range(1, keypoints + 1)]
    return Category(
        row["id"],
        row["name"],
        tuple(names),
        tuple((int(first), int(second)) for first, second in row.get("skeleton") or ()),
    )


def flip_order(names: Sequence[str]) -> tuple[int, ...]:
    """Where each keypoint's number comes from when left and right are swapped.

    ``left_eye`` and ``right_eye`` change places, as in Detectron2's ``keypoint_flip_map``; what has
    no counterpart stays.

    Args:
        names: Of the keypoints, in order.
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
