"""Images that annotation files hold as text; masks are bounded before they are decoded."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.data.image_files import open_image

#: A mask is at most this many times as wide and high as its image; more is no mask, but a bomb.
MOST_TIMES = 2


def bytes_in(text: str) -> bytes:
    """The bytes of a file as base64, also behind ``data:image/png;base64,`` and in several lines.

    Raises:
        ValueError: It is no base64.
    """
    bare = text.partition(",")[2] if text.startswith("data:") else text
    return base64.b64decode("".join(bare.split()), validate=True)


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
    try:
        content = bytes_in(data)
        with open_image(io.BytesIO(content)) as image:
            if image.width > MOST_TIMES * size_px[1] or image.height > MOST_TIMES * size_px[0]:
                raise ValueError(
                    f"a mask of {image.width} × {image.height} px in an image of "
                    f"{size_px[1]} × {size_px[0]} px"
                )
            bands = image.getbands()
            plain = image.getchannel("A") if "A" in bands else image.convert("L")
            return np.asarray(plain) > 0
    except ValueError:
        raise
    except Exception as error:  # Pillow's many decoders raise anything on damaged bytes
        raise ValueError(f"its mask is not an image: {type(error).__name__}") from error
