"""What a network found in one image, checked when it is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from harness.core.dataset import Category
from harness.core.errors import RunFailedError, UsageError
from harness.core.panoptic import PanopticMap
from harness.core.printable import counted
from harness.core.run_lengths import Rle, decode
from harness.core.shortest_digits import shortest

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One decoded image of the data set."""

    image_id: int
    """Id of the image in its data set."""

    pixels_bgr: npt.NDArray[np.uint8]
    """(H, W, 3) uint8, BGR, EXIF orientation applied. Detections refer to this frame."""

    proposals_xyxy_px: npt.NDArray[np.floating[Any]] | None = None
    """(n, 4) regions to look at, in px of this frame, best first; None where the network proposes
    its own.
    """

    @property
    def height_px(self) -> int:
        return int(self.pixels_bgr.shape[0])

    @property
    def width_px(self) -> int:
        return int(self.pixels_bgr.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Detections:
    """All objects found in one image, best score first.

    Raises:
        RunFailedError: An array has a wrong shape or a number that is not finite: a crash or a NaN
            must never become a low AP.
    """

    image_id: int
    """Of the data set; where there is none, the position in what was asked, from 1."""

    boxes_xyxy_px: npt.NDArray[np.float32]
    """(n, 4) float32, absolute pixels of the original image, x2 and y2 exclusive; n may be 0."""

    scores: npt.NDArray[np.float32]
    """(n,) float32 in 0…1, descending."""

    class_index: npt.NDArray[np.int64]
    """(n,) int64, contiguous from 0: a position in ``categories``; never a COCO id."""

    masks: tuple[Rle, ...] | None
    """n run-length encodings of the original image's size, or None for a box-only network."""

    keypoints: npt.NDArray[np.float32] | None = None
    """(n, K, 3) float32: x and y in pixels of the original image, of which 0.5 is the middle of the
    first, and a score of at least 0; None for a network without a keypoint head. COCO's files count
    from that middle: ``to_coco`` writes 0.5 less.
    """

    panoptic: PanopticMap | None = None
    """The map of segments; None for a network that makes none. ``above`` leaves it as it is."""

    categories: tuple[Category, ...] = ()
    """All classes of the model, by class index; empty where the model's are not known."""

    size_px: tuple[int, int] | None = None
    """(height, width) of the original image, where it was kept."""

    source: str | None = None
    """The file of the image; None for arrays, and for images of a data set."""

    def __post_init__(self) -> None:
        """Check shapes and numbers."""
        import numpy as np

        count = len(self.scores)
        expected = {"boxes_xyxy_px": (count, 4), "scores": (count,), "class_index": (count,)}
        for name, shape in expected.items():
            found = getattr(self, name).shape
            if found != shape:
                raise RunFailedError(f"image {self.image_id}: {name} must be {shape}, got {found}")
        if self.masks is not None and len(self.masks) != count:
            raise RunFailedError(f"image {self.image_id}: {len(self.masks)} masks, {count} scores")
        points = self.keypoints
        if points is not None and (points.ndim != 3 or points.shape[::2] != (count, 3)):
            raise RunFailedError(
                f"image {self.image_id}: keypoints must be ({count}, K, 3), got {points.shape}"
            )
        numbers = (self.boxes_xyxy_px, self.scores, *(() if points is None else (points,)))
        if not all(np.isfinite(one).all() for one in numbers):
            raise RunFailedError(
                f"image {self.image_id}: the network's output is not finite",
                hint="reduced precision can overflow; try --precision fp32, and check the weights",
            )

    def __len__(self) -> int:
        """How many objects there are."""
        return len(self.scores)

    def __eq__(self, other: object) -> bool:
        """Whether every number and mask is the same."""
        import numpy as np

        if not isinstance(other, Detections):
            return NotImplemented
        pairs = ((getattr(self, one.name), getattr(other, one.name)) for one in fields(self))
        return all(
            np.array_equal(mine, its)  # not equal where only one of them is there
            if isinstance(mine, np.ndarray) or isinstance(its, np.ndarray)
            else mine == its
            for mine, its in pairs
        )

    def __repr__(self) -> str:
        """The image and how many objects of each category it has."""
        where = f"image {self.image_id}" if self.source is None else repr(self.source)
        counts = Counter(self.names if self.categories else ())
        named = ", ".join(f"{count} {name}" for name, count in counts.most_common())
        more = f": {named}" if named else ""
        return f"<Detections of {where}: {counted(len(self), 'object')}{more}>"

    @property
    def names(self) -> list[str]:
        """N names of the categories, one an object."""
        return [category.name for category in self._of_objects()]

    @property
    def category_ids(self) -> npt.NDArray[np.int64]:
        """(n,) int64: COCO category ids, one an object."""
        import numpy as np

        ids = [category.category_id for category in self._of_objects()]
        return np.array(ids, dtype=np.int64)

    def _of_objects(self) -> list[Category]:
        if not self.categories:
            raise UsageError(
                f"image {self.image_id}: the categories of these detections are not known",
                hint="load_model(…).predict(…) gives detections that know them",
            )
        return [self.categories[index] for index in self.class_index.tolist()]

    def above(self, threshold: float) -> Detections:
        """The objects with scores of ``threshold`` or more."""
        kept = self.scores >= threshold
        masks = self.masks
        if masks is not None:
            masks = tuple(mask for mask, keep in zip(masks, kept.tolist(), strict=True) if keep)
        return replace(
            self,
            boxes_xyxy_px=self.boxes_xyxy_px[kept],
            scores=self.scores[kept],
            class_index=self.class_index[kept],
            masks=masks,
            keypoints=None if self.keypoints is None else self.keypoints[kept],
        )

    def with_stuff(self, stuff: Sequence[Category]) -> Detections:
        """The same with the kinds of stuff of its map, by class from 1; without a map, as it is."""
        if self.panoptic is None:
            return self
        return replace(self, panoptic=replace(self.panoptic, stuff=tuple(stuff)))

    def decode_masks(self) -> npt.NDArray[np.bool_]:
        """The masks as pixels.

        Returns:
            (n, H, W) bool, of the original image's size.

        Raises:
            UsageError: The network has no masks.
        """
        import numpy as np

        if self.masks is None:
            raise UsageError(f"image {self.image_id}: this network has boxes only, no masks")
        if not self.masks:
            return np.zeros((0, *(self.size_px or (0, 0))), dtype=bool)
        return np.stack([decode(mask) for mask in self.masks])

    def to_coco(self, image_id: int | None = None) -> list[dict[str, Any]]:
        """The objects as rows of a COCO results file, best score first.

        Args:
            image_id: Written into the rows; None takes this image's own.

        Returns:
            One row an object with ``image_id``, ``category_id``, ``bbox`` (x, y, width, height in
            px), ``score`` and, for a network that has them, ``segmentation`` (compressed run
            lengths) and ``keypoints`` (x, y, score, x, y, score, … in px, of which 0 is the middle
            of the first).
        """
        number = self.image_id if image_id is None else image_id
        return [{"image_id": number, **row} for row in self.coco_rows(self._of_objects())]

    def coco_boxes(self) -> npt.NDArray[np.float32]:
        """(n, 4) float32 x, y, width, height in px, as a COCO result has them.

        Width and height are subtracted in float32, as Detectron2's ``BoxMode.convert`` does.
        """
        boxes_xywh_px: npt.NDArray[np.float32] = self.boxes_xyxy_px.copy()
        boxes_xywh_px[:, 2:] -= boxes_xywh_px[:, :2]
        return boxes_xywh_px

    def coco_rows(self, of_objects: Sequence[Category]) -> list[dict[str, Any]]:
        """The same without the image, for the category of each object."""
        sides_px = shortest(self.coco_boxes().ravel())
        rows: list[dict[str, Any]] = [
            {
                "category_id": category.category_id,
                "bbox": sides_px[4 * row : 4 * row + 4],
                "score": score,
            }
            for row, (category, score) in enumerate(
                zip(of_objects, shortest(self.scores), strict=True)
            )
        ]
        if self.masks is not None:
            for found, mask in zip(rows, self.masks, strict=True):
                found["segmentation"] = {
                    "size": [mask.height_px, mask.width_px],
                    "counts": mask.counts,
                }
        if self.keypoints is not None:
            for row, found in enumerate(rows):
                found["keypoints"] = list(self.coco_keypoints(row) or ())
        return rows

    def coco_keypoints(self, row: int) -> tuple[float, ...] | None:
        """The keypoints of an object as a COCO result has them: flat, half a pixel less.

        Args:
            row: Row of the object.

        Returns:
            x, y, score, x, y, score, …; None for a network without a keypoint head.
        """
        if self.keypoints is None:
            return None
        points = self.keypoints[row].copy()
        points[:, :2] -= 0.5
        return tuple(shortest(points.ravel()))
