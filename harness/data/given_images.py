"""Images as a program hands them over: files, folders, globs, arrays, Pillow images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from harness.core.architecture import ChannelOrder
from harness.core.errors import IntegrityError, UsageError
from harness.data.image_files import find_images
from harness.data.images import read_pixels, upright_pixels

#: An opened image.
Picture = PillowImage.Image

#: A name of one image or more, an array of one, or an opened one.
ImageLike = str | Path | npt.NDArray[np.uint8] | Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenImage:
    """One image that is still to be decoded."""

    number: int
    """Position in what was given, from 1."""

    image: Path | npt.NDArray[np.uint8] | PillowImage.Image
    """A file, an array or an opened image."""

    @property
    def source(self) -> str | None:
        """The file; None for arrays and opened images."""
        return str(self.image) if isinstance(self.image, Path) else None


def given_images(images: ImageLike | Iterable[ImageLike]) -> Iterator[GivenImage]:
    """The images one by one; an iterator is asked for the next one only when it is needed.

    Args:
        images: One, or several in any iterable. A text or path is a file, a folder (with all
            below it) or a glob.

    Raises:
        UsageError: A name that nothing has, or something that is not an image.
    """
    one = isinstance(images, str | Path | np.ndarray | PillowImage.Image)
    given: Iterable[Any] = [images] if one else images  # type: ignore[assignment]
    if not isinstance(given, Iterable):
        raise UsageError(f"expected images, got {type(given).__name__}")
    number = 0
    for item in given:
        for image in _each(item):
            number += 1
            yield GivenImage(number=number, image=image)


def _each(item: Any) -> list[Any]:
    if isinstance(item, str | Path):
        return list(find_images([str(item)]))
    if isinstance(item, np.ndarray | PillowImage.Image):
        return [item]
    raise UsageError(
        f"expected the name of an image, an array or a Pillow image, got {type(item).__name__}"
    )


def decoded(given: GivenImage, channel_order: ChannelOrder | None) -> npt.NDArray[np.uint8]:
    """The pixels of a given image.

    Args:
        given: The file, array or opened image.
        channel_order: Of an array; None where there are no arrays.

    Returns:
        (H, W, 3) uint8 in BGR order, upright.

    Raises:
        UsageError: An array of another shape or type, or without a channel order.
        IntegrityError: An image that cannot be decoded.
    """
    image = given.image
    if isinstance(image, Path):
        return read_pixels(image, where=str(image))
    if isinstance(image, np.ndarray):
        return _of_array(image, channel_order, f"image {given.number}")
    try:
        return upright_pixels(image.copy())
    except Exception as error:  # Pillow's many decoders raise anything on damaged bytes
        raise IntegrityError(f"image {given.number} cannot be decoded: {error}") from error


def _of_array(
    pixels: npt.NDArray[np.uint8], channel_order: ChannelOrder | None, where: str
) -> npt.NDArray[np.uint8]:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise UsageError(
            f"{where}: expected an array of (height, width, 3) uint8, "
            f"got {pixels.shape} {pixels.dtype}",
            hint="several images are given as a list of arrays",
        )
    if channel_order is None:
        raise UsageError(
            f"{where}: an array does not say whether its channels are RGB or BGR",
            hint='give channel_order="RGB" (as Pillow and torchvision have it) or "BGR" (OpenCV)',
        )
    if channel_order not in ("RGB", "BGR"):
        raise UsageError(f"channel_order must be RGB or BGR, got {channel_order!r}")
    return np.ascontiguousarray(pixels[:, :, ::-1] if channel_order == "RGB" else pixels)
