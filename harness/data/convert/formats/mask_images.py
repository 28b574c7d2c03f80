"""Masks that annotation files hold as small images: bounded before they are decoded."""

from __future__ import annotations

import base64
import binascii
import io
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.data.image_files import open_image

#: A mask is at most this many times as wide and high as its image; more is no mask, but a bomb.
MOST_TIMES = 2


def mask_in(data: Any, size_px: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """(h, w) bool of an image as base64, also behind ``data:image/png;base64,``.

    Where it has transparency, what is not transparent is the object, else what is not black.

    Args:
        data: The text.
        size_px: (height, width) of the image that the mask is of.

    Raises:
        ValueError: It is not an image, damaged, or much larger than its image.
    """
    if not isinstance(data, str):
        raise ValueError("it holds no mask as text")
    text = data.partition(",")[2] if data.startswith("data:") else data
    try:
        content = base64.b64decode(text, validate=True)
        with open_image(io.BytesIO(content)) as image:
            if image.width > MOST_TIMES * size_px[1] or image.height > MOST_TIMES * size_px[0]:
                raise ValueError(
                    f"a mask of {image.width} × {image.height} px in an image of "
                    f"{size_px[1]} × {size_px[0]} px"
                )
            bands = image.getbands()
            plain = image.getchannel("A") if "A" in bands else image.convert("L")
            return np.asarray(plain) > 0
    except (ValueError, binascii.Error) as error:
        raise ValueError(str(error)) from error
    except Exception as error:  # Pillow's many decoders raise anything on damaged bytes
        raise ValueError(f"its mask is not an image: {type(error).__name__}") from error
