"""Decoding and resizing, pixel-equal to Detectron2's ``data`` package.

Whatever the file holds (grey, palette, CMYK, 16 bit, alpha), Pillow's conversion to RGB decides the
pixels, after the EXIF orientation was applied.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, UnidentifiedImageError
from PIL import Image as PillowImage

from harness.core.dataset import ImageRecord
from harness.core.detections import Image
from harness.core.errors import IntegrityError

#: What undoes each EXIF orientation (Exif 2.3, tag 274) but the upright one.
UPRIGHT = 1
TURNS = {
    2: PillowImage.Transpose.FLIP_LEFT_RIGHT,
    3: PillowImage.Transpose.ROTATE_180,
    4: PillowImage.Transpose.FLIP_TOP_BOTTOM,
    5: PillowImage.Transpose.TRANSPOSE,
    6: PillowImage.Transpose.ROTATE_270,
    7: PillowImage.Transpose.TRANSVERSE,
    8: PillowImage.Transpose.ROTATE_90,
}


def load_image(record: ImageRecord, images_dir: Path) -> Image:
    """The decoded image of ``record``.

    Raises IntegrityError, naming path and image id, when the file is missing, cut off, no image,
    or of another size than its record: boxes would then be drawn in a frame that does not exist.
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
    """(H, W, 3) uint8 in BGR order, upright; errors begin with ``where``."""
    try:
        with PillowImage.open(path) as file:
            return upright_pixels(file)
    except FileNotFoundError:
        raise IntegrityError(
            f"{where} is missing",
            hint="complete the folder of images; COCO's come with: harness download",
        ) from None
    except UnidentifiedImageError:
        raise IntegrityError(f"{where} is not an image") from None
    except PillowImage.DecompressionBombError as error:
        raise IntegrityError(f"{where} is too large to be decoded: {error}") from None
    except Exception as error:  # Pillow's many decoders raise anything on damaged bytes
        raise IntegrityError(
            f"{where} cannot be decoded: {error}",
            hint="the file is probably cut off; fetch the data again: harness download",
        ) from error


def upright_pixels(image: PillowImage.Image) -> npt.NDArray[np.uint8]:
    """(H, W, 3) uint8 in BGR order of an opened image, turned as its EXIF says.

    Raises whatever Pillow's decoders raise on damaged bytes.
    """
    upright = _upright(image)
    # A transparent colour changes no pixel of the conversion, but makes Pillow warn.
    upright.info.pop("transparency", None)
    return np.ascontiguousarray(np.asarray(upright.convert("RGB"))[:, :, ::-1])


def _upright(image: PillowImage.Image) -> PillowImage.Image:
    """The image turned as its EXIF orientation says; as it is when its EXIF cannot be read.

    Not Pillow's ``exif_transpose``: that also rewrites the EXIF, and fails where it is odd.
    """
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    except Exception:  # the reference takes any failure for "no orientation", and so must we
        return image
    turn = TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def resize_shape(
    height_px: int, width_px: int, short_edge_px: int, long_edge_max_px: int
) -> tuple[int, int]:
    """(height, width) with the short edge at short_edge_px, or less if the long edge caps it.

    Rounded as int(x + 0.5), in the reference's order of operations. Raises ValueError for an image
    so narrow that nothing of its short edge would be left.
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
        raise ValueError(f"{width_px} × {height_px} px is too narrow to be resized")
    return rounded


def resize(pixels: npt.NDArray[np.uint8], height_px: int, width_px: int) -> npt.NDArray[np.uint8]:
    """(height, width, 3) uint8 by Pillow's bilinear filter; writable, in the order given."""
    image = PillowImage.fromarray(pixels)
    return np.array(image.resize((width_px, height_px), PillowImage.Resampling.BILINEAR))
