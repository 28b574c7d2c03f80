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
    """One decoded image of the data set."""

    image_id: int
    """Id of the image in its data set."""

    pixels_bgr: npt.NDArray[np.uint8]
    """(H, W, 3) uint8, BGR, EXIF orientation applied. Detections refer to this frame."""

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
    """Height of the image."""

    width_px: int
    """Width of the image."""

    counts: str
    """COCO's compressed run lengths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """All predictions for one image, best score first.

    Raises:
        RunFailedError: A shape is wrong or a number is not finite: a crash or a NaN must never
            become a low AP.
    """

    image_id: int
    """Id of the image."""

    boxes_xyxy_px: npt.NDArray[np.float32]
    """(n, 4) float32, absolute pixels of the original image, x2/y2 exclusive."""

    scores: npt.NDArray[np.float32]
    """(n,) float32 in 0…1."""

    class_index: npt.NDArray[np.int64]
    """(n,) int64, contiguous from 0; never a COCO id."""

    masks: tuple[Rle, ...] | None
    """n run-length encodings of the size of the original image; None for a network without masks.
    """

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
