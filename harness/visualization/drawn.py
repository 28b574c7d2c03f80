"""Detections of one image as a Pillow image."""

from __future__ import annotations

from PIL import Image as PillowImage

from harness.core.architecture import ChannelOrder
from harness.core.detections import Detections
from harness.core.drawing import DrawingStyle
from harness.core.errors import UsageError
from harness.data.given_images import ImageLike, decoded, given_images
from harness.visualization.overlays import draw


def picture_of(
    image: ImageLike | None,
    detections: Detections,
    style: DrawingStyle,
    *,
    channel_order: ChannelOrder | None,
) -> PillowImage.Image:
    """The image with its detections, RGB.

    Args:
        image: What the detections are of; None for the file that they name.
        detections: With categories.
        style: How they are drawn.
        channel_order: Of an array.

    Raises:
        UsageError: There is no such image, or it has another size.
        IntegrityError: The image cannot be decoded.
    """
    given = detections.source if image is None else image
    if given is None:
        raise UsageError("these detections are of an array: give it with channel_order")
    images = list(given_images(given))
    if len(images) != 1:
        raise UsageError(f"{given} are {len(images)} images; detections are of one")
    pixels = decoded(images[0], channel_order)
    if detections.size_px not in (None, pixels.shape[:2]):
        height, width = pixels.shape[:2]
        raise UsageError(
            f"the image is {width} × {height} px, the detections are of one of "
            f"{detections.size_px[1]} × {detections.size_px[0]} px"
        )
    names = [category.name for category in detections.categories]
    drawn = draw(pixels, detections, names, style, detections.categories)
    return PillowImage.fromarray(drawn[:, :, ::-1].copy())
