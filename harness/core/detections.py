"""What an engine says about one image, checked at birth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.core.errors import RunFailedError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One decoded image of the data set.

    pixels_bgr: (H, W, 3) uint8, EXIF orientation applied. height_px and width_px are its shape;
    detections refer to this frame.
    """

    image_id: int
    pixels_bgr: npt.NDArray[np.uint8]

    @property
    def height_px(self) -> int:
        return int(self.pixels_bgr.shape[0])

    @property
    def width_px(self) -> int:
        return int(self.pixels_bgr.shape[1])


@dataclass(frozen=True, slots=True)
class Rle:
    """A binary mask of height × width pixels as COCO's compressed run lengths."""

    height_px: int
    width_px: int
    counts: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """All predictions for one image, best score first.

    boxes_xyxy_px: (n, 4) float32, absolute pixels of the original image, x2/y2 exclusive.
    scores: (n,) float32 in 0…1. class_index: (n,) int64, contiguous from 0; never a COCO id.
    masks: n run-length encodings of the original image's size, or None for a box-only network.
    Raises RunFailedError on a wrong shape or a number that is not finite: a crash or a NaN must
    never become a low AP.
    """

    image_id: int
    boxes_xyxy_px: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    class_index: npt.NDArray[np.int64]
    masks: tuple[Rle, ...] | None

    def __post_init__(self) -> None:
        import numpy as np

        count = len(self.scores)
        expected = {"boxes_xyxy_px": (count, 4), "scores": (count,), "class_index": (count,)}
        for name, shape in expected.items():
            found = getattr(self, name).shape
            if found != shape:
                raise RunFailedError(f"image {self.image_id}: {name} must be {shape}, got {found}")
        if self.masks is not None and len(self.masks) != count:
            raise RunFailedError(f"image {self.image_id}: {len(self.masks)} masks, {count} scores")
        if not (np.isfinite(self.boxes_xyxy_px).all() and np.isfinite(self.scores).all()):
            raise RunFailedError(
                f"image {self.image_id}: the network's output is not finite",
                hint="reduced precision can overflow; try --precision fp32, and check the weights",
            )

    def __len__(self) -> int:
        return len(self.scores)
