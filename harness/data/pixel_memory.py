"""Pixels of Pillow's images as arrays, copied while other threads run.

Pillow packs the pixels of an image into bytes, piece by piece and with Python's lock held, and
NumPy copies these: meanwhile no other thread that loads images gets on. Pillow also shows its own
memory, four bytes a pixel, in the Arrow format; NumPy releases the lock while it copies from there,
which takes a quarter of the time.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

#: Bytes of a pixel in Pillow's memory of an RGB image, of which the last is not used.
PIXEL_BYTES = 4


class _ArrowArray(ctypes.Structure):
    """``struct ArrowArray`` of the Arrow C data interface."""


_ArrowArray._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_ArrowArray))),
    ("dictionary", ctypes.c_void_p),
    ("release", ctypes.c_void_p),
    ("private_data", ctypes.c_void_p),
]


class _Memory:
    """Memory of an image, for ``numpy.asarray``, which keeps this object."""

    def __init__(self, owner: Any, address: int, shape: tuple[int, int, int]) -> None:
        self.owner = owner
        self.__array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": "|u1",
            "data": (address, True),
        }


def pixels_of(
    image: PillowImage.Image, order: Literal["RGB", "BGR"] = "RGB"
) -> npt.NDArray[np.uint8]:
    """Return a copy of the pixels of an image.

    Args:
        image: Of the mode RGB.
        order: Order of the channels of the result.

    Returns:
        (H, W, 3) uint8, contiguous and writable.
    """
    image.load()
    memory = _memory_of(image)
    if memory is None:
        packed = np.asarray(image)
        return np.array(packed if order == "RGB" else packed[:, :, ::-1], order="C")
    pixels = np.empty((*memory.shape[:2], 3), dtype=np.uint8)
    for channel in range(3):  # a quarter of the time of all three at once
        pixels[:, :, channel] = memory[:, :, channel if order == "RGB" else 2 - channel]
    return pixels


@cache
def _pointer_of() -> Callable[[object, bytes], int]:
    """Return ``PyCapsule_GetPointer``."""
    prototype = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
    return prototype(("PyCapsule_GetPointer", ctypes.pythonapi))


def _memory_of(image: PillowImage.Image) -> npt.NDArray[np.uint8] | None:
    """Return the memory of a loaded RGB image, (H, W, 4) uint8; None where it is not in one piece.

    So it is for images of more than 4 million pixels, of a Pillow before 11.2, and where rows are
    aligned (``PILLOW_ALIGNMENT``).
    """
    export = getattr(image, "__arrow_c_array__", None)
    alignment = PillowImage.core.get_alignment()  # type: ignore[attr-defined]
    if export is None or image.mode != "RGB" or alignment != 1:
        return None
    try:
        _, capsule = export()
    except ValueError:  # several blocks
        return None
    whole = ctypes.cast(
        _pointer_of()(capsule, b"arrow_array"), ctypes.POINTER(_ArrowArray)
    ).contents
    count = image.width * image.height
    if count == 0:  # there is no memory
        return None
    if (whole.length, whole.offset, whole.n_children) != (count, 0, 1):
        return None
    values = whole.children[0].contents
    if (values.length, values.offset, values.n_buffers) != (count * PIXEL_BYTES, 0, 2):
        return None
    shape = (image.height, image.width, PIXEL_BYTES)
    return np.asarray(_Memory(capsule, values.buffers[1], shape))
