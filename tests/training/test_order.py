"""The order of images: complete, by orientation, and the same after a resume."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from harness.training.order import AUGMENT, SAMPLE, batches, generator

orientations = st.lists(st.booleans(), min_size=1, max_size=40)


@given(orientations, st.integers(1, 8), st.integers(0, 2**32), st.integers(0, 30))
def test_a_resumed_run_sees_the_rest_of_the_same_order(
    wide: list[bool], size: int, seed: int, start: int
) -> None:
    unbroken = list(islice(batches(wide, size, seed), start + 5))
    assert list(islice(batches(wide, size, seed, start), 5)) == unbroken[start:]


@given(orientations, st.integers(1, 8), st.integers(0, 2**32))
def test_a_batch_has_one_orientation_and_the_right_size(
    wide: list[bool], size: int, seed: int
) -> None:
    for batch in islice(batches(wide, size, seed), 20):
        assert len(batch) == size
        assert len({wide[draw.image] for draw in batch}) == 1


@given(orientations, st.integers(1, 8), st.integers(0, 2**32))
def test_every_image_comes_equally_often(wide: list[bool], size: int, seed: int) -> None:
    epochs = 4
    drawn = [draw for batch in islice(batches(wide, size, seed), 200) for draw in batch]
    counts = Counter(draw.image for draw in drawn if draw.ordinal < epochs * len(wide))
    # At most an incomplete batch of each orientation is still waiting.
    complete = len(drawn) >= (epochs * len(wide) + 2 * size)
    if complete:
        assert set(counts.values()) == {epochs}
        assert len(counts) == len(wide)
    assert len({draw.ordinal for draw in drawn}) == len(drawn)


def test_other_seeds_give_another_order() -> None:
    wide = [True] * 30
    first = [draw.image for batch in islice(batches(wide, 6, 1), 5) for draw in batch]
    assert sorted(first) == list(range(30))
    second = [draw.image for batch in islice(batches(wide, 6, 2), 5) for draw in batch]
    assert first != second


def test_streams_of_different_purposes_do_not_meet() -> None:
    assert generator(1, AUGMENT, 5).random() != generator(1, SAMPLE, 5).random()
