"""Label Studio's run lengths, written by an encoder of our own from the description."""

from __future__ import annotations

import random

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from harness.data.convert.formats.labelstudio_regions import decoded

#: As Label Studio writes them.
LENGTHS = (3, 4, 8, 16)


def encoded(values: npt.NDArray[np.uint8], seed: int = 0) -> list[int]:
    """``values`` as a stream; runs of one value are mostly written as such, at times in full."""
    draw = random.Random(seed)
    bits = f"{len(values):032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in LENGTHS)
    position = 0
    while position < len(values):
        kind = draw.randrange(4)
        longest = min(2 ** LENGTHS[kind], len(values) - position)
        same = 1
        while same < longest and values[position + same] == values[position]:
            same += 1
        repeats = draw.random() < 0.8
        run = same if repeats else min(longest, 5)
        words = [values[position]] if repeats else values[position : position + run]
        bits += f"{repeats:b}{kind:02b}{run - 1:0{LENGTHS[kind]}b}"
        bits += "".join(f"{int(word):08b}" for word in words)
        position += run
    bits += "0" * (-len(bits) % 8)
    return [int(bits[start : start + 8], 2) for start in range(0, len(bits), 8)]


def rgba(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Colour everywhere, alpha where the mask is."""
    values = np.full((*mask.shape, 4), 77, dtype=np.uint8)
    values[..., 3] = mask * 255
    return values.ravel()


@given(
    mask=arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)),
    seed=st.integers(0, 5),
)
def test_masks_come_back(mask: npt.NDArray[np.bool_], seed: int) -> None:
    assert np.array_equal(decoded(encoded(rgba(mask), seed), *mask.shape), mask)


def test_a_stream_by_hand() -> None:
    # 8 values for 2 × 1 px: one run of 4 times 0 and one of 4 times 255, lengths in 3 bits.
    bits = f"{8:032b}" + "00111" + "0010001101111111"
    bits += "1" + "00" + "011" + "00000000" + "1" + "00" + "011" + "11111111"
    bits += "0" * (-len(bits) % 8)
    stream = [int(bits[start : start + 8], 2) for start in range(0, len(bits), 8)]
    assert decoded(stream, 1, 2).tolist() == [[False, True]]


@pytest.mark.parametrize(
    ("stream", "fault"),
    [
        ([], "0 values"),
        ([1, 2, 3], "values for an image"),
        ([0, 0, 0, 8], "end early"),
        ([0, 0, 0, 8, 57, 27, 248, 0], "end early"),
        ([300], "not bytes"),
    ],
)
def test_damaged_streams_are_refused(stream: list[int], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        decoded(stream, 1, 2)
