"""Label Studio's run lengths: a whole RGBA image as a stream of bits.

    32 bits  how many values there are: height · width · 4
     5 bits  bits a value has, less one
    4 × 4    bits a run's length has, less one, for each of four kinds of run
    then runs: 1 bit whether the run repeats one value, 2 bits its kind, its length less one, and
    the one value, or as many values as the run is long

The layout is rle-pack's (thi-ng/umbrella, packages/rle-pack/src/index.ts), which Label Studio uses.
A pixel is painted where its fourth value, alpha, is not zero, as in Label Studio's own export
(HumanSignal/label-studio-converter, brush.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

CHANNELS = 4


def decoded(rle: Sequence[int], height: int, width: int) -> npt.NDArray[np.bool_]:
    """The pixels that were painted.

    Args:
        rle: Bytes of the stream, 0…255.
        height: Of the image.
        width: Of the image.

    Returns:
        (height, width) bool.

    Raises:
        ValueError: They are no mask of that size.
    """
    try:
        stream = np.array(rle, dtype=np.uint8)
    except (OverflowError, TypeError) as error:
        raise ValueError("the run lengths are no bytes") from error
    bits = (np.unpackbits(stream) + ord("0")).tobytes().decode("ascii")
    count = int(bits[:32] or "0", 2)
    if count != height * width * CHANNELS:
        raise ValueError(f"{count:,} values for an image of {width} × {height} px")
    values = np.zeros(count, dtype=np.uint8)
    word, lengths, position = _header(bits)
    done = 0
    while done < len(values):
        repeats = bits[position : position + 1] == "1"
        size = lengths[int(bits[position + 1 : position + 3] or "0", 2)]
        position += 3
        run = 1 + int(bits[position : position + size] or "0", 2)
        position += size
        end = position + (word if repeats else word * run)
        if end > len(bits):
            raise ValueError("the run lengths end early")
        words = bits[position:end]
        values[done : done + run] = (
            int(words, 2) & 0xFF if repeats else list(_words(words, word))[: len(values) - done]
        )
        done, position = done + run, end
    painted: npt.NDArray[np.bool_] = values.reshape(height, width, CHANNELS)[..., 3] > 0
    return painted


def _header(bits: str) -> tuple[int, list[int], int]:
    """Bits a value, bits a length of each kind of run, and where the runs begin."""
    if len(bits) < 53:
        raise ValueError("the run lengths end early")
    word = int(bits[32:37], 2) + 1
    return word, [int(bits[start : start + 4], 2) + 1 for start in range(37, 53, 4)], 53


def _words(bits: str, size: int) -> Iterable[int]:
    return (int(bits[start : start + size], 2) & 0xFF for start in range(0, len(bits), size))
