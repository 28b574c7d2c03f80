"""Run lengths as text: read in bulk as one by one, and spelled as pycocotools spells them."""

from __future__ import annotations

import numpy as np
from faster_coco_eval.core import mask as faster_mask
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from harness.core.rle_text import canonical, parse, spell, sums_of, without_empty
from harness.core.run_lengths import run_lengths

RUNS = st.lists(st.integers(0, 2**28), min_size=1, max_size=12)
TEXTS = st.lists(
    st.text(st.sampled_from("0123Ooo_`PQ\\^") | st.characters(), max_size=12), max_size=6
)


def padded(text: str, extra: list[int]) -> str:
    """The text with needless characters behind its numbers, where ``extra`` says so."""
    out, number, position = "", "", 0
    for character in text:
        number += character
        if not (ord(character) - 48) & 32:
            room = 6 - len(number)
            for _ in range(min(extra[position % len(extra)], room)):
                sign = (ord(number[-1]) - 48) & 16
                number = number[:-1] + chr(ord(number[-1]) + 32) + ("O" if sign else "0")
            out, number, position = out + number, "", position + 1
    return out


@given(TEXTS)
def test_many_texts_say_what_each_says_alone(texts):
    runs = parse(texts)
    sums = sums_of(runs)
    for number, text in enumerate(texts):
        alone = run_lengths(text)
        assert (alone is not None) == bool(runs.readable[number] and sums[number] >= 0)
        if alone is not None:
            assert runs.of(number).tolist() == list(alone)
            assert sums[number] == sum(alone)


@given(st.lists(RUNS, max_size=5))
def test_what_is_spelled_is_what_pycocotools_spells(masks):
    texts = [spell(runs) for runs in masks]
    for text, runs in zip(texts, masks, strict=True):
        plain = {"size": [1, sum(runs)], "counts": runs}
        if sum(runs) < 2**32:
            same = [faster_mask]
            # pycocotools writes a byte past its memory where every number takes six characters.
            same += [coco_mask] if len(text) < 6 * len(runs) else []
            for library in same:
                official = library.frPyObjects(plain, 1, sum(runs))["counts"].decode("ascii")
                assert text == official
    parsed = parse(texts)
    assert parsed.readable.all()
    assert parsed.minimal.all()
    assert [parsed.of(number).tolist() for number in range(len(masks))] == masks


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=12).filter(any),
    st.lists(st.integers(0, 4), min_size=1, max_size=3),
)
def test_every_spelling_of_a_mask_becomes_the_same_text(runs, extra):
    text = padded(spell(runs), extra)
    parsed = parse([text, "5", text])
    assert parsed.of(0).tolist() == parsed.of(2).tolist() == runs
    found = canonical([text, "5", text], parsed)
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    mask = np.asfortranarray(flat.reshape(1, -1, order="F").astype(np.uint8))
    expected = coco_mask.encode(mask)["counts"].decode("ascii")
    assert found == [expected, "5", expected]


def test_a_number_of_seven_characters_is_no_number():
    assert run_lengths("oooooO") == [-1] or run_lengths("oooooO") is None
    assert run_lengths("PPPPP0") == [0]
    assert run_lengths("PPPPPP0") is None
    assert not parse(["PPPPPP0"]).readable.any()


def test_empty_runs_join_their_neighbours():
    assert without_empty([0, 3, 0, 4, 2, 0, 1]) == [0, 7, 3]
    assert without_empty([5, 0]) == [5]
    assert without_empty([0, 0, 4, 1]) == [4, 1]
    assert without_empty([0, 0, 4, 1]) == without_empty([4, 1])
