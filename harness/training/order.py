"""The order of images: a pure function of the seed, so that a resumed run has the same order.

Images are shuffled epoch by epoch and grouped by orientation (wide or tall), so that a batch pads
little (Detectron2's AspectRatioGroupedDataset).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np

#: Purposes of random numbers; each has a stream of its own.
SHUFFLE, AUGMENT, SAMPLE = range(3)


class Draw(NamedTuple):
    """One image in the endless sequence of a run."""

    image: int
    """Its index in the training set."""

    ordinal: int
    """Its place in the sequence, from 0. Everything random about it is drawn from (seed, ordinal).
    """


def batches(
    wide: Sequence[bool], batch_size: int, seed: int, start: int = 0
) -> Iterator[list[Draw]]:
    """Yield endless batches; each has images of one orientation.

    Images wait for a full batch, over the end of an epoch if need be; none is left out.

    Args:
        wide: Whether each image is wider than high.
        batch_size: Images in a batch.
        seed: Seed of the training.
        start: Number of the first batch that is yielded, from 0.
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
    """Return the random numbers of one purpose and one image of the sequence.

    Args:
        seed: Seed of the training.
        purpose: SHUFFLE, AUGMENT or SAMPLE.
        ordinal: Place in the sequence; the epoch for SHUFFLE.
    """
    return np.random.Generator(np.random.PCG64([seed, purpose, ordinal]))


def _draws(image_count: int, seed: int) -> Iterator[Draw]:
    """Yield the images of all epochs, each epoch in an order of its own."""
    ordinal = 0
    for epoch in count():
        for index in generator(seed, SHUFFLE, epoch).permutation(image_count):
            yield Draw(int(index), ordinal)
            ordinal += 1
