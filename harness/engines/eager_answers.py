"""What the eager path found in an image: in original pixels, then encoded as detections."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from harness.core.architecture import Architecture
from harness.core.detections import Detections, Rle
from harness.core.panoptic import PanopticMap
from harness.engines.slot_answers import Resized
from harness.measure.rle import encode_edges, encode_region
from harness.nn.boxes import clip, nonempty
from harness.nn.masks import PastedMask, paste_outlines, paste_regions
from harness.nn.panoptic import combined
from harness.nn.rcnn import Found
from harness.nn.roi_heads import RawDetections
from harness.nn.semantic import enlarged, of_original


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
        index: Of the image in the batch.
        size: Its height and width before padding, px.
        numbers: Of the network.
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
