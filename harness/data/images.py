"""Decoding and resizing, pixel-equal to Detectron2's ``data`` package.

Whatever the file's format (grey, palette, CMYK, 16 bit, alpha), Pillow's conversion to RGB decides
the pixels of an evaluation, after the EXIF orientation was applied. Images that are only looked at
(``harness predict`` and ``serve``) keep the contrast of 16 bits instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from harness.core.dataset import Dataset, ImageRecord
from harness.core.detections import Image
from harness.core.errors import IntegrityError
from harness.core.printable import shown_text
from harness.data.image_files import (
    TURNS,
    UPRIGHT,
    UnreadableImage,
    is_wide,
    open_image,
    orientation_of,
    unreadable,
)
from harness.data.pixel_memory import pixels_of

#: Pixels, or pixels and notes.
Decoded = TypeVar("Decoded")

#: More images in one file than this are not counted.
MOST_FRAMES = 100

#: What is said of an image of 16 bits.
UPPER_BITS = "of its 16 bits a pixel the upper 8 were used; an evaluation sees white above 255"


def load_image(record: ImageRecord, images_dir: Path) -> Image:
    """The decoded image of a record.

    Args:
        record: As the annotation file lists it.
        images_dir: What its file name is relative to.

    Raises:
        IntegrityError: The file is missing, cut off, no image, or of another size than its record:
            boxes would then be drawn in a frame that does not exist. Names path and image id.
    """
    path = images_dir / record.file_name
    where = f"image {record.image_id}: {path}"
    pixels = read_pixels(path, where=where)
    height, width = pixels.shape[:2]
    if (height, width) != (record.height_px, record.width_px):
        raise IntegrityError(
            f"{where} is {width} × {height} px, "
            f"its annotation file says {record.width_px} × {record.height_px}",
            hint="the image was replaced or resized; fetch the data again: harness download",
        )
    return Image(image_id=record.image_id, pixels_bgr=pixels)


def read_pixels(path: Path, *, where: str) -> npt.NDArray[np.uint8]:
    """(H, W, 3) uint8 in BGR order, upright, as an evaluation sees it.

    Args:
        path: The image file.
        where: What errors begin with.

    Raises:
        IntegrityError: It is missing, cut off, or no image.
    """
    return _decoded(path, where, upright_pixels)


def read_own_pixels(path: Path, *, where: str) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
    """The pixels of an image that is only looked at, and how an evaluation would see them
    differently.

    Args:
        path: The image file.
        where: What errors begin with.

    Returns:
        Pixels as in ``own_pixels``, and a sentence for each difference.

    Raises:
        IntegrityError: It is missing, cut off, no image, or of numbers without a known range.
    """

    def decode(image: PillowImage.Image) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
        notes = (UPPER_BITS,) if is_wide(image) else ()
        return own_pixels(image), notes

    return _decoded(path, where, decode)


def _decoded(path: Path, where: str, decode: Callable[[PillowImage.Image], Decoded]) -> Decoded:
    try:
        with open_image(path) as image:
            return decode(image)
    except Exception as error:  # Pillow's many decoders raise anything on damaged bytes
        bad = unreadable(path, error)
        raise IntegrityError(f"{where} {bad}", hint=_advice(bad, error)) from error


def _advice(bad: UnreadableImage, error: Exception) -> str:
    """Return what to do about an image that cannot be opened."""
    if bad.is_missing:
        return "complete the folder of images; COCO's come with: harness download"
    if isinstance(error, PermissionError):
        return "let this user read it, and open each folder on the way to it"
    return "the file is probably damaged; fetch or save it again"


def upright_pixels(image: PillowImage.Image) -> npt.NDArray[np.uint8]:
    """The pixels of an opened image, turned by its EXIF orientation.

    Returns:
        (H, W, 3) uint8 in BGR order.

    Raises:
        Exception: Any error of Pillow's decoders on damaged bytes.
    """
    upright = _upright(image, orientation_of(image))
    # A transparent colour changes no pixel of the conversion, but makes Pillow warn.
    upright.info.pop("transparency", None)
    # Where it is RGB already, Pillow's conversion is a copy.
    return pixels_of(upright if upright.mode == "RGB" else upright.convert("RGB"), "BGR")


def own_pixels(image: PillowImage.Image) -> npt.NDArray[np.uint8]:
    """The pixels of an opened image that is only looked at: of 16 bits of grey the upper 8.

    Pillow's conversion, and with it Detectron2 and an evaluation, makes all above 255 white: of a
    user's own image nothing would be left.

    Returns:
        (H, W, 3) uint8 in BGR order, upright.

    Raises:
        ValueError: Its values are not of 16 bits, or floating-point numbers of no known range.
        Exception: Any error of Pillow's decoders on damaged bytes.
    """
    if image.mode == "F":
        raise ValueError("it holds floating-point numbers of no known range; convert it to PNG")
    if not is_wide(image):
        return upright_pixels(image)
    orientation = orientation_of(image)
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError(f"values {values.min()}…{values.max()} are not of 16 bits")
    narrow = PillowImage.fromarray((values >> 8).astype(np.uint8))
    return upright_pixels(_upright(narrow, orientation))


def notes_on(image: PillowImage.Image) -> Iterator[str]:
    """What is made of an opened image that its owner may not expect, a sentence each."""
    orientation = orientation_of(image)
    if orientation != UPRIGHT:
        yield f"turned upright as EXIF orientation {orientation} says"
    frames = _frames(image)
    if frames > 1:
        many = f"more than {MOST_FRAMES}" if frames > MOST_FRAMES else str(frames)
        yield f"the first of its {many} pictures was used"
    if is_wide(image):
        yield UPPER_BITS
    elif image.mode == "CMYK":
        yield "CMYK was converted to RGB without a colour profile"
    elif image.mode.endswith(("A", "a")):
        yield "transparency was left out"


def _frames(image: PillowImage.Image) -> int:
    """The number of images in a file; MOST_FRAMES + 1 for any larger one of a TIFF.

    Pillow counts the images of a TIFF in time that grows with the square of their number.
    """
    if image.format != "TIFF":
        return int(getattr(image, "n_frames", 1))
    for number in range(1, MOST_FRAMES + 1):
        try:
            image.seek(number)
        except Exception:  # its end, or damage behind the first image, which is the one used
            image.seek(0)
            return number
    image.seek(0)
    return MOST_FRAMES + 1


def _upright(image: PillowImage.Image, orientation: int) -> PillowImage.Image:
    """The image turned by its EXIF orientation.

    Not Pillow's ``exif_transpose``: that also rewrites the EXIF, and fails where it is odd.
    """
    turn = TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def resize_shape(
    height_px: int, width_px: int, short_edge_px: int, long_edge_max_px: int
) -> tuple[int, int]:
    """The size of a resized image: the short edge as given, or less where the long edge limits it.

    Rounded as int(x + 0.5), in the reference's order of operations.

    Args:
        height_px: Height of the image.
        width_px: Width of the image.
        short_edge_px: Wanted length of the short edge.
        long_edge_max_px: Greatest length of the long edge.

    Returns:
        (height, width) in px.

    Raises:
        IntegrityError: The image is so narrow that nothing of its short edge would be left.
    """
    scale = short_edge_px / min(height_px, width_px)
    if height_px < width_px:
        height, width = float(short_edge_px), scale * width_px
    else:
        height, width = scale * height_px, float(short_edge_px)
    longest = max(height, width)
    if longest > long_edge_max_px:
        scale = long_edge_max_px / longest
        height, width = height * scale, width * scale
    rounded = int(height + 0.5), int(width + 0.5)
    if 0 in rounded:
        raise nothing_left(height_px, width_px)
    return rounded


def nothing_left(height_px: int, width_px: int) -> IntegrityError:
    """The error of an image of which a resize leaves nothing.

    Args:
        height_px: Height of the image.
        width_px: Width of the image.
    """
    return IntegrityError(
        f"{width_px} × {height_px} px is too narrow to be resized",
        hint="leave it out, or cut it into pieces",
    )


@contextmanager
def about(name: str) -> Iterator[None]:
    """Name the image in what is wrong with it.

    Args:
        name: Its file, or its place in a list.

    Raises:
        IntegrityError: As the block raised it, with the name in front.
    """
    try:
        yield
    except IntegrityError as error:
        raise IntegrityError(f"{name}: {error.message}", hint=error.hint) from error


def require_resizable(dataset: Dataset, short_edge_px: int, long_edge_max_px: int) -> None:
    """Check that every image has pixels when it is resized, before the first one is.

    Args:
        dataset: Its images.
        short_edge_px: As in `resize_shape`.
        long_edge_max_px: As in `resize_shape`.

    Raises:
        IntegrityError: One or more have none; the first is named.
    """
    narrow = too_narrow(dataset.images, short_edge_px, long_edge_max_px)
    if narrow:
        raise IntegrityError(
            f"{len(narrow)} of {len(dataset.images)} images are too narrow: with a long edge of "
            f"{long_edge_max_px} px nothing is left of the other; the first is "
            f"{shown_text(narrow[0].file_name)}, {narrow[0].width_px} × {narrow[0].height_px} px",
            hint="leave them out: harness data subset FILE --names NAMES --output CHOSEN",
        )


def too_narrow(
    images: Sequence[ImageRecord], short_edge_px: int, long_edge_max_px: int
) -> list[ImageRecord]:
    """Return the images of which a resize leaves nothing."""

    def is_lost(one: ImageRecord) -> bool:
        try:
            resize_shape(one.height_px, one.width_px, short_edge_px, long_edge_max_px)
        except IntegrityError:
            return True
        return False

    return [one for one in images if is_lost(one)]


def resize(pixels: npt.NDArray[np.uint8], height_px: int, width_px: int) -> npt.NDArray[np.uint8]:
    """The image resized by Pillow's bilinear filter.

    Args:
        pixels: (H, W, 3) uint8 in any channel order, which stays.
        height_px: Height of the result.
        width_px: Width of the result.

    Returns:
        (height, width, 3) uint8, writable.
    """
    image = PillowImage.fromarray(pixels)
    return pixels_of(image.resize((width_px, height_px), PillowImage.Resampling.BILINEAR))
