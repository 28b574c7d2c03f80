"""Images as a program hands them over: files, folders, globs, arrays, Pillow images."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from harness.core.architecture import ChannelOrder
from harness.core.errors import IntegrityError, UsageError
from harness.data.image_files import find_images
from harness.data.images import own_pixels, read_own_pixels

#: An opened image.
Picture = PillowImage.Image

#: A name of one image or more, an array of one, or an opened one.
ImageLike = str | os.PathLike[str] | npt.NDArray[np.uint8] | Picture

#: What has the encoded bytes of an image, which Pillow opens.
_CONTENT = (bytes, bytearray, memoryview, io.IOBase)


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
    if isinstance(images, str | os.PathLike | np.ndarray | PillowImage.Image):
        return _numbered([images])
    if not isinstance(images, Iterable) or isinstance(images, (*_CONTENT, Mapping)):
        raise _no_image(images)
    return _numbered(images)


def _numbered(images: Iterable[Any]) -> Iterator[GivenImage]:
    number = 0
    for item in images:
        for image in _each(item):
            number += 1
            yield GivenImage(number=number, image=image)


def _each(item: Any) -> list[Any]:
    if isinstance(item, str | os.PathLike):
        return list(find_images([os.fsdecode(item)]))
    if isinstance(item, np.ndarray | PillowImage.Image):
        return [item]
    raise _no_image(item)


def _no_image(item: Any) -> UsageError:
    """The error for something that names, holds or is no image."""
    hint = None
    if isinstance(item, _CONTENT):
        wrapped = "" if isinstance(item, io.IOBase) else ", in an io.BytesIO"
        hint = f"open an encoded image with PIL.Image.open first{wrapped}"
    elif hasattr(item, "numpy"):  # a tensor of any package
        hint = "give the array of a tensor, channels last: tensor.permute(1, 2, 0).numpy()"
    return UsageError(
        "expected images (a file, a folder, a glob, an array or a Pillow image, or several of "
        f"these), got {type(item).__name__}",
        hint=hint,
    )


def decoded(given: GivenImage, channel_order: ChannelOrder | None) -> npt.NDArray[np.uint8]:
    """The pixels of a given image.

    Args:
        given: The file, array or opened image.
        channel_order: Channel order of an array; None where there are no arrays.

    Returns:
        (H, W, 3) uint8 in BGR order, upright.

    Raises:
        UsageError: An array of another shape or type, or without a channel order.
        IntegrityError: An image that cannot be decoded.
    """
    image = given.image
    if isinstance(image, Path):
        return read_own_pixels(image, where=str(image))[0]
    if isinstance(image, np.ndarray):
        return _of_array(image, channel_order, f"image {given.number}")
    if not image.width * image.height:
        raise UsageError(f"image {given.number}: the opened image has no pixels")
    try:
        return own_pixels(image.copy())
    except Exception as error:  # Pillow's many decoders raise anything on damaged bytes
        raise IntegrityError(f"image {given.number} cannot be decoded: {error}") from error


def _of_array(
    pixels: npt.NDArray[np.uint8], channel_order: ChannelOrder | None, where: str
) -> npt.NDArray[np.uint8]:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise UsageError(
            f"{where}: expected an array of (height, width, 3) uint8, "
            f"got {pixels.shape} {pixels.dtype}",
            hint=_advice_on(pixels),
        )
    if channel_order is None:
        raise UsageError(
            f"{where}: an array does not say whether its channels are RGB or BGR",
            hint='give channel_order="RGB" (as Pillow and torchvision have it) or "BGR" (OpenCV)',
        )
    if channel_order not in ("RGB", "BGR"):
        raise UsageError(f"channel_order must be RGB or BGR, got {channel_order!r}")
    return np.ascontiguousarray(pixels[:, :, ::-1] if channel_order == "RGB" else pixels)


def _advice_on(pixels: npt.NDArray[Any]) -> str:
    """How an array of another shape or type becomes an image."""
    if not pixels.size:
        return "it has no pixels"
    if pixels.ndim == 4:
        return "give several images as a list of arrays: list(images)"
    if pixels.ndim == 2:
        return "give grey the same value in each channel: numpy.dstack([image] * 3)"
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        return "leave out the fourth channel: image[:, :, :3]"
    if pixels.ndim == 3 and pixels.shape[2] != 3 and pixels.shape[0] == 3:
        return "put the channels last: image.transpose(1, 2, 0)"
    return (
        "pixels are whole numbers from 0 to 255: image.astype('uint8'), "
        "of numbers from 0 to 1 after multiplying with 255"
    )
