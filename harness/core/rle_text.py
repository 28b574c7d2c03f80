"""COCO's text of run lengths, many masks at once: what it says, and its one canonical spelling.

A number takes as many characters as it needs, five bits each; from the fourth number on it is the
difference from the run before the last (cocoapi, ``common/maskApi.c``, ``rleFrString``). The same
mask has many spellings: numbers with needless characters, runs of length zero. Evaluators written
in C read some of them wrongly, or never come back, so nothing reaches them that was not parsed here
and, where it is spelled in another way, written again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

#: Characters a number may take: 30 bits with the sign. No run of a mask that is accepted
#: (``measure.masks``) needs more, and pycocotools loses bits from the seventh on.
MOST_CHARACTERS = 6

#: The first character of the alphabet, and how many there are.
FIRST_CHARACTER, ALPHABET = 48, 64

#: Bits of a character: the number continues; the sign, in its last one; the value.
MORE, SIGN, VALUE = 32, 16, 31


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of several texts, one after the other.

    Args of arrays: n runs altogether, t texts.
    """

    lengths: Integers
    """(n,) run lengths; negative where a text says so, or is not text of runs."""
    starts: Integers
    """(t + 1,) where each text's runs begin in ``lengths``, and the end."""
    readable: npt.NDArray[np.bool_]
    """(t,) whether a text follows the format: its alphabet, no number cut off or too long."""
    minimal: npt.NDArray[np.bool_]
    """(t,) whether no number has a needless character."""

    def of(self, text: int) -> Integers:
        """(k,) the runs of one text."""
        return self.lengths[self.starts[text] : self.starts[text + 1]]


def parse(texts: Sequence[str]) -> Runs:
    """What all of ``texts`` say.

    Args:
        texts: Any text; an empty one has no runs and is not readable.

    Returns:
        Their runs. What is not readable has some runs too, which mean nothing.
    """
    blank = np.array([not text or not text.isascii() for text in texts], dtype=bool)
    joined = "".join("0" if skip else text for text, skip in zip(texts, blank, strict=True))
    bits = np.frombuffer(joined.encode("ascii"), dtype=np.uint8) - np.uint8(FIRST_CHARACTER)
    sizes = [1 if skip else len(text) for text, skip in zip(texts, blank, strict=True)]
    ends = np.cumsum(np.array(sizes, dtype=np.int64))
    odd = np.flatnonzero(bits >= ALPHABET)
    last = np.zeros(len(bits), dtype=bool)
    last[ends - 1] = True
    goes_on = (bits & MORE) != 0
    broken = np.concatenate((odd, np.flatnonzero(last & goes_on)))
    closing = np.flatnonzero(~goes_on | last)
    begins = np.concatenate((np.zeros(1, np.int64), closing[:-1] + 1))[: len(closing)]
    counts = closing - begins + 1
    long = np.flatnonzero(counts > MOST_CHARACTERS)
    broken = np.concatenate((broken, begins[long]))
    readable = ~blank
    readable[np.searchsorted(ends, broken, side="right")] = False
    starts = np.concatenate((np.zeros(1, np.int64), np.searchsorted(closing, ends)))
    lengths = _runs(_numbers(bits, begins, closing, counts), starts)
    padded = np.flatnonzero(_needless(bits, closing, counts))
    minimal = np.ones(len(texts), dtype=bool)
    minimal[np.searchsorted(ends, closing[padded], side="right")] = False
    return Runs(lengths, starts, readable, minimal)


def _numbers(
    bits: npt.NDArray[np.uint8], begins: Integers, closing: Integers, counts: Integers
) -> Integers:
    """(n,) the signed numbers between ``begins`` and ``closing``; of long ones the first bits."""
    if not len(closing):
        return np.zeros(0, dtype=np.int64)
    places = np.arange(len(bits), dtype=np.int64) - np.repeat(begins, counts)
    shifts = 5 * np.minimum(places, MOST_CHARACTERS)
    numbers = np.add.reduceat((bits & VALUE).astype(np.int64) << shifts, begins)
    negative = ((bits[closing] & SIGN) != 0).astype(np.int64)
    signed: Integers = numbers - (negative << (5 * np.minimum(counts, MOST_CHARACTERS + 1)))
    return signed


def _needless(
    bits: npt.NDArray[np.uint8], closing: Integers, counts: Integers
) -> npt.NDArray[np.bool_]:
    """(n,) whether the last character of a number only repeats the sign of the one before."""
    value = bits[closing] & VALUE
    sign_before = (bits[np.maximum(closing - 1, 0)] & SIGN) != 0
    repeats = np.where(sign_before, value == VALUE, value == 0)
    return np.asarray((counts > 1) & repeats)


def _runs(numbers: Integers, starts: Integers) -> Integers:
    """(n,) run lengths from numbers that are differences from the fourth of a text on."""
    position = np.arange(len(numbers), dtype=np.int64) - np.repeat(starts[:-1], np.diff(starts))
    runs: Integers = numbers.copy()
    for chain in (position % 2 == 1, (position % 2 == 0) & (position > 0)):
        where = np.flatnonzero(chain)
        sums = np.cumsum(numbers[where])
        first = np.flatnonzero(position[where] <= 2)  # of each text
        before = (sums - numbers[where])[first]
        runs[where] = sums - np.repeat(before, np.diff(np.append(first, len(where))))
    return runs


def sums_of(runs: Runs) -> Integers:
    """(t,) how many pixels the runs of each text cover; −1 for a text with a negative run."""
    totals = np.concatenate((np.zeros(1, np.int64), np.cumsum(runs.lengths)))[runs.starts]
    sums = np.diff(totals)
    negative = np.flatnonzero(runs.lengths < 0)
    sums[np.searchsorted(runs.starts, negative, side="right") - 1] = -1
    return sums


def without_empty(lengths: Sequence[int]) -> list[int]:
    """The same mask without runs of length zero, but for a first one: a mask may begin true."""
    kept: list[int] = []
    true_next = False  # the kind of run that the next of ``lengths`` is
    for length in lengths:
        if length or not kept:
            if kept and (len(kept) % 2 == 1) != true_next:
                kept[-1] += length  # an empty run separated two of one kind
            else:
                kept.append(length)
        true_next = not true_next
    return kept


def spell(lengths: Sequence[int]) -> str:
    """Return the canonical text of run lengths, every number as short as it can be."""
    characters = []
    for position, length in enumerate(lengths):
        number = length - lengths[position - 2] if position > 2 else length
        more = True
        while more:
            value = number & VALUE
            number >>= 5
            more = number != (-1 if value & SIGN else 0)
            characters.append(chr(FIRST_CHARACTER + value + (MORE if more else 0)))
    return "".join(characters)


def canonical(texts: Sequence[str], runs: Runs) -> list[str]:
    """The canonical spelling of each text, the text itself where it is that.

    Args:
        texts: As parsed into ``runs``, every one readable and without negative runs.
        runs: Of ``parse``.
    """
    follows = np.ones(len(runs.lengths), dtype=bool)
    follows[runs.starts[:-1]] = False
    empty = np.flatnonzero(follows & (runs.lengths == 0))
    odd = ~runs.minimal
    odd[np.searchsorted(runs.starts, empty, side="right") - 1] = True
    spelled = list(texts)
    for text in np.flatnonzero(odd).tolist():
        spelled[text] = spell(without_empty(runs.of(text).tolist()))
    return spelled
