"""Which image comes when: a pure function of the seed, so that a resumed run sees the same order.

Images are shuffled epoch by epoch and grouped by orientation (wide or tall), so that a batch pads
little (Detectron2's AspectRatioGroupedDataset).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np

#: What a number drawn from the seed is for; streams must not meet.
SHUFFLE, AUGMENT, SAMPLE = range(3)


class Draw(NamedTuple):
    """One image in the endless sequence of a run.

    image: its index. ordinal: its place in the sequence, from 0; everything random about it
    is drawn from (seed, ordinal).
    """

    image: int
    ordinal: int


def batches(
    wide: Sequence[bool], batch_size: int, seed: int, start: int = 0
) -> Iterator[list[Draw]]:
    """Endless batches from number ``start`` on; wide: of each image, width above height.

    A batch holds images of one orientation. Images wait for a full batch, over the end of an epoch
    if need be; none is left out.
    """
    waiting: tuple[list[Draw], list[Draw]] = ([], [])
    finished = 0
    for draw in _draws(len(wide), seed):
        group = waiting[wide[draw.image]]
        group.append(draw)
        if len(group) == batch_size:
            if finished >= start:
                yield list(group)
            finished += 1
            group.clear()


def generator(seed: int, purpose: int, ordinal: int) -> np.random.Generator:
    """The random numbers of one purpose and one image of the sequence."""
    return np.random.Generator(np.random.PCG64([seed, purpose, ordinal]))


def _draws(image_count: int, seed: int) -> Iterator[Draw]:
    ordinal = 0
    for epoch in count():
        for index in generator(seed, SHUFFLE, epoch).permutation(image_count):
            yield Draw(int(index), ordinal)
            ordinal += 1
