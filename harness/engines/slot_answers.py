"""The input of a network in slots (``nn.slots``), and its answer decoded on the host."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from harness.core.detections import Detections, Rle
from harness.nn.slots import HEAD, Capacity, Layout

#: Numbers of an image's frame: height and width resized, height and width of the original, and
#: the scale of x, y, x, y from the one to the other.
FRAME_NUMBERS = 8


class Resized(Protocol):
    """An image resized for the network (``native.PreparedImage``)."""

    @property
    def image_id(self) -> int: ...
    @property
    def pixels(self) -> npt.NDArray[np.uint8]: ...
    @property
    def height_px(self) -> int: ...
    @property
    def width_px(self) -> int: ...
    @property
    def proposals(self) -> npt.NDArray[np.float32] | None: ...


class Overflow(NamedTuple):
    """Why an image needs the eager path: more of something than there are slots for it."""

    image_id: int
    """Id of the image."""

    reason: str
    """What there is too much of."""


def canvas_of(
    images: Sequence[Resized], least: tuple[int, int] = (0, 0), *, divisor_px: int = 32
) -> tuple[int, int]:
    """Return height and width of a batch's padded input.

    Args:
        images: Of the batch.
        least: Smallest height and width.
        divisor_px: Both are multiples of it (``Architecture.size_divisor_px``).
    """
    sides = zip(least, *(one.pixels.shape[:2] for one in images), strict=True)
    height, width = (-(-max(lengths) // divisor_px) * divisor_px for lengths in sides)
    return height, width


def fill(
    images: Sequence[Resized], pixels: npt.NDArray[np.uint8], frame: npt.NDArray[np.float32]
) -> None:
    """Write a batch where the device will read it.

    Args:
        images: B of them.
        pixels: (B, H, W, 3); what is outside an image stays as it is, and is not read.
        frame: (B, FRAME_NUMBERS).
    """
    for one, slot, row in zip(images, pixels, frame, strict=True):
        height, width = one.pixels.shape[:2]
        slot[:height, :width] = one.pixels
        across, down = one.width_px / width, one.height_px / height
        row[:] = (height, width, one.height_px, one.width_px, across, down, across, down)


def detections_of(
    image: Resized, row: npt.NDArray[np.int32], layout: Layout, capacity: Capacity, masks: bool
) -> Detections | Overflow:
    """Return one image's detections, encoded; or why the eager path is needed.

    Args:
        image: The image.
        row: (layout.width,) int32, its row of the answer.
        layout: Columns of the row.
        capacity: What the row was made with.
        masks: Whether the network has masks.

    Raises:
        FloatingPointError: When the network's output was not finite.
    """
    head: dict[str, int] = dict(zip(HEAD, row[: len(HEAD)].tolist(), strict=True))
    if not head["finite"]:
        raise FloatingPointError("the network's output is not finite")
    for name in ("candidates", "places", "characters"):
        most: int = getattr(capacity, name)
        if head[name] > most:
            return Overflow(image.image_id, f"{head[name]} {name}, and room for {most}")
    kept = row[layout.kept] != 0
    encoded = None
    if masks:
        text = row[layout.text].view(np.uint8)[: head["characters"]].tobytes().decode("ascii")
        borders = (0, *np.cumsum(row[layout.lengths][kept]).tolist())
        encoded = tuple(
            Rle(image.height_px, image.width_px, text[begin:end])
            for begin, end in pairwise(borders)
        )
    return Detections(
        image_id=image.image_id,
        boxes_xyxy_px=_floats(row[layout.boxes]).reshape(-1, 4)[kept],
        scores=_floats(row[layout.scores])[kept],
        class_index=row[layout.classes][kept].astype(np.int64),
        masks=encoded,
    )


def _floats(words: npt.NDArray[np.int32]) -> npt.NDArray[Any]:
    return words.view(np.float32)
