"""Images that clients send, and pictures that are sent back.

Pixels are those of an evaluation: the same decoding, the same rotation by EXIF. Which formats
are opened at all is decided in ``harness.data.image_files``.
"""

from __future__ import annotations

import warnings
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from harness.core.detections import Image
from harness.data.image_files import FORMATS, open_image, upright_size
from harness.data.images import notes_on, own_pixels
from harness.serve.failures import refused

#: How pictures are written. PNG: by runs alone, which is as fast as zlib gets, and smaller here
#: than its first levels. JPEG: with colours at full resolution, for thin lines are lost without.
PNG: dict[str, Any] = {"compress_level": 1, "compress_type": zlib.Z_RLE}
JPEG: dict[str, Any] = {"quality": 90, "subsampling": 0}

PictureFormat = Literal["png", "jpeg"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One file as it was received."""

    name: str
    """The name the client gave it, for messages."""

    content: bytes
    """All its bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the first bytes of an image say."""

    format: str
    """Pillow's name of the format."""

    width_px: int
    """Upright, after rotation by EXIF."""

    height_px: int
    """Upright, after rotation by EXIF."""

    notes: tuple[str, ...]
    """What was changed in decoding that its sender may not expect."""


def refuse_bombs(max_megapixels: float) -> None:
    """Have Pillow refuse, in this whole process, to decode larger images.

    This also covers images inside of images, which ``read_header`` does not see.

    Args:
        max_megapixels: The largest image that is decoded.
    """
    PillowImage.MAX_IMAGE_PIXELS = int(max_megapixels * 1e6)
    warnings.filterwarnings("error", category=PillowImage.DecompressionBombWarning)


def read_header(upload: Upload, max_megapixels: float) -> Header:
    """Read format and size of an image; no pixels are decoded.

    Raises:
        Refusal: 400 for what is not an image, 413 for one of more than ``max_megapixels``.
    """
    if not upload.content:
        raise refused(
            400,
            f"{upload.name} is empty",
            expected="a picture",
            found="0 bytes",
            next_step="send the file itself: curl -F file=@photo.jpg",
        )
    try:
        with open_image(BytesIO(upload.content)) as file:
            mode, header = file.mode, _header(file)
    except (PillowImage.DecompressionBombError, PillowImage.DecompressionBombWarning) as error:
        raise _too_large(upload, str(error).partition(" exceeds")[0], max_megapixels) from None
    except UnidentifiedImageError:
        raise refused(
            400,
            f"{upload.name} is not a picture",
            expected=" ".join(FORMATS),
            found=_begins(upload.content),
            next_step="send an image, for instance as JPEG or PNG",
        ) from None
    except Exception as error:  # Pillow's many decoders raise anything on damaged bytes
        raise _damaged(upload, error) from error
    if mode == "F":
        raise refused(
            400,
            f"{upload.name} is not an image that networks are trained on",
            expected="whole numbers of 8 or 16 bits",
            found="floating-point numbers of no known range",
            next_step="convert it to PNG",
        )
    if header.width_px * header.height_px > max_megapixels * 1e6:
        found = f"{header.width_px} × {header.height_px} px"
        raise _too_large(upload, found, max_megapixels)
    return header


def decode(upload: Upload) -> Image:
    """Decode an image.

    Args:
        upload: The file.

    Returns:
        The image, upright, (H, W, 3) uint8 in BGR order; its id is 0.

    Raises:
        Refusal: 400 when the file is cut off or damaged.
    """
    try:
        with open_image(BytesIO(upload.content)) as file:
            pixels = own_pixels(file)
    except Exception as error:  # see read_header
        raise _damaged(upload, error) from error
    return Image(image_id=0, pixels_bgr=pixels)


def encode(pixels_bgr: npt.NDArray[np.uint8], format: PictureFormat) -> bytes:
    """Encode a picture.

    Args:
        pixels_bgr: (H, W, 3) uint8 in BGR order.
        format: Format of the file.

    Returns:
        The content of the file.
    """
    picture = PillowImage.fromarray(np.ascontiguousarray(pixels_bgr[:, :, ::-1]))
    written = BytesIO()
    picture.save(written, format=format, **(PNG if format == "png" else JPEG))
    return written.getvalue()


def _header(file: PillowImage.Image) -> Header:
    size = upright_size(file)
    return Header(
        format=str(file.format),
        width_px=size.width_px,
        height_px=size.height_px,
        notes=tuple(notes_on(file)),
    )


def _too_large(upload: Upload, found: str, max_megapixels: float) -> Exception:
    return refused(
        413,
        f"{upload.name} has too many pixels",
        expected=f"at most {max_megapixels:g} megapixels",
        found=found,
        next_step="send it smaller: the network looks at it at about 1 megapixel anyway; "
        "or start the service with a larger --max-megapixels",
    )


def _damaged(upload: Upload, error: Exception) -> Exception:
    return refused(
        400,
        f"{upload.name} cannot be decoded",
        expected="a whole picture",
        found=f"{len(upload.content)} bytes: {error}",
        next_step="the file is probably cut off; send it again",
    )


def _begins(content: bytes) -> str:
    return f"{len(content)} bytes that begin with {content[:12]!r}"
