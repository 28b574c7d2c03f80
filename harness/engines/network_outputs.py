"""A network's input and outputs: in slots (``nn.slots``), and of the eager path.

Outputs are brought to original pixels and encoded as detections, on the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from harness.core.architecture import Architecture
from harness.core.detections import Detections
from harness.core.panoptic import PanopticMap
from harness.core.run_lengths import Rle
from harness.measure.masks import encode_edges, encode_region
from harness.nn.boxes import clip, nonempty
from harness.nn.masks import PastedMask, paste_outlines, paste_regions
from harness.nn.panoptic import combined, enlarged, of_original
from harness.nn.rcnn import Found
from harness.nn.roi_heads import RawDetections
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
        images: Images of the batch.
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


class Restored(NamedTuple):
    """What was found in one image, in pixels of the original."""

    found: RawDetections
    """Boxes, clipped, without the empty ones; scores and classes."""

    pasted: list[PastedMask] | list[Tensor] | None = None
    """Masks as regions of the image, or as outlines (``nn.masks``); None without a mask head."""

    points: Tensor | None = None
    """(n, K, 3) keypoints; None without a keypoint head."""

    panoptic: PanopticMap | None = None
    """The map of segments; None without a semantic head."""


def restore(
    image: Resized,
    found: Found,
    index: int,
    size: tuple[int, int],
    numbers: Architecture,
) -> Restored:
    """Return what was found in one image of a batch.

    Args:
        image: As it was resized for the network.
        found: In all images of the batch.
        index: Index of the image in the batch.
        size: Its height and width before padding, px.
        numbers: Numbers of the network, its architecture.
    """
    raw = found.detections[index]
    scale_x, scale_y = image.width_px / size[1], image.height_px / size[0]
    boxes = raw.boxes * raw.boxes.new_tensor([scale_x, scale_y, scale_x, scale_y])
    boxes = clip(boxes, image.height_px, image.width_px)
    kept = nonempty(boxes)
    raw = RawDetections(boxes[kept], raw.scores[kept], raw.classes[kept])
    points = None
    if found.keypoints is not None:
        points = found.keypoints[index][kept]
        points = points * points.new_tensor([scale_x, scale_y, 1.0])
    if found.masks is None:
        return Restored(raw, points=points)
    pasting = (found.masks[index][kept], raw.boxes, image.height_px, image.width_px)
    if found.semantics is not None:
        # Each is read twice on the host: for the map, and to be encoded.
        regions = [
            one._replace(region=one.region.cpu())
            for one in paste_regions(*pasting, numbers.mask_threshold)
        ]
        labels = labels_of(found.semantics[index], size, (image.height_px, image.width_px))
        whole = combined(raw.scores, raw.classes, regions, labels.cpu().numpy(), numbers)
        return Restored(raw, regions, points, whole)
    way = paste_regions if raw.boxes.device.type == "cpu" else paste_outlines
    return Restored(raw, way(*pasting, numbers.mask_threshold), points)


def labels_of(logits: Tensor, size: tuple[int, int], original: tuple[int, int]) -> Tensor:
    """Return the class of each pixel of an original image.

    Args:
        logits: (C, H / 4, W / 4) of the semantic head, of the padded input.
        size: Height and width of the image in it, px.
        original: Height and width of the original image, px.

    Returns:
        (height, width) int64.
    """
    return of_original(enlarged(logits[None])[0], size, original).argmax(dim=0)


def encode(image: Resized, restored: Restored) -> Detections:
    """Return the detections of an image."""
    found, pasted, points, panoptic = restored
    return Detections(
        image_id=image.image_id,
        boxes_xyxy_px=found.boxes.cpu().numpy(),
        scores=found.scores.cpu().numpy(),
        class_index=found.classes.cpu().numpy(),
        masks=None if pasted is None else tuple(_encoded(one, image) for one in pasted),
        keypoints=None if points is None else points.cpu().numpy(),
        panoptic=panoptic,
    )


def _encoded(mask: PastedMask | Tensor, image: Resized) -> Rle:
    height, width = image.height_px, image.width_px
    if isinstance(mask, Tensor):
        return encode_edges(mask.numpy(), height_px=height, width_px=width)
    return encode_region(
        mask.region.numpy(),
        top_px=mask.top_px,
        left_px=mask.left_px,
        height_px=height,
        width_px=width,
    )
