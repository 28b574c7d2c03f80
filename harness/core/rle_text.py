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
    blank = np.zeros(len(texts), dtype=bool)
    joined = "".join(texts)
    if not (all(texts) and joined.isascii()):
        blank = np.array([not text or not text.isascii() for text in texts], dtype=bool)
        texts = ["0" if skip else text for text, skip in zip(texts, blank, strict=True)]
        joined = "".join(texts)
    bits = np.frombuffer(joined.encode("ascii"), dtype=np.uint8) - np.uint8(FIRST_CHARACTER)
    sizes = list(map(len, texts))
    ends = np.cumsum(np.array(sizes, dtype=np.int64))
    odd = np.flatnonzero(bits >= ALPHABET)
    last = np.zeros(len(bits), dtype=bool)
    last[ends - 1] = True
    goes_on = (bits & MORE) != 0
    broken = np.concatenate((odd, np.flatnonzero(last & goes_on)))
    closing = np.flatnonzero(~goes_on | last)
    counts = np.diff(closing, prepend=-1)
    several = np.flatnonzero(counts > 1)
    long = several[counts[several] > MOST_CHARACTERS]
    broken = np.concatenate((broken, closing[long]))
    readable = ~blank
    readable[np.searchsorted(ends, broken, side="right")] = False
    starts = np.concatenate((np.zeros(1, np.int64), np.searchsorted(closing, ends)))
    lengths = _runs(_numbers(bits, closing, counts, several), starts)
    padded = several[_needless(bits, closing[several])]
    minimal = np.ones(len(texts), dtype=bool)
    minimal[np.searchsorted(ends, closing[padded], side="right")] = False
    return Runs(lengths, starts, readable, minimal)


def _numbers(
    bits: npt.NDArray[np.uint8], closing: Integers, counts: Integers, several: Integers
) -> Integers:
    """(n,) the signed numbers that end at ``closing``; of long ones the first bits.

    Most are of one character: what costs time for others is done for those alone.

    Args:
        bits: (c,) of all characters.
        closing: (n,) places of the last character of each number.
        counts: (n,) their characters.
        several: Which of them have more than one.
    """
    begins = closing - counts + 1
    numbers: Integers = (bits[begins] & VALUE).astype(np.int64)
    for place in range(1, MOST_CHARACTERS):
        several = several[counts[several] > place]
        numbers[several] += (bits[begins[several] + place] & VALUE).astype(np.int64) << 5 * place
    negative = np.flatnonzero(bits[closing] & SIGN)
    numbers[negative] -= 1 << (5 * np.minimum(counts[negative], MOST_CHARACTERS + 1))
    return numbers


def _needless(bits: npt.NDArray[np.uint8], closing: Integers) -> npt.NDArray[np.bool_]:
    """(n,) whether the last character of a number only repeats the sign of the one before.

    Args:
        bits: (c,) of all characters.
        closing: (n,) places of the last character of numbers that have more than one.
    """
    value = bits[closing] & VALUE
    sign_before = (bits[closing - 1] & SIGN) != 0
    return np.asarray(np.where(sign_before, value == VALUE, value == 0))


def _runs(numbers: Integers, starts: Integers) -> Integers:
    """(n,) run lengths from numbers that are differences from the fourth of a text on.

    A run is the sum of every other number before it in its text, but for the first one: the sum
    of every other number of all texts, less what it was where its text begins.
    """
    sums: Integers = numbers.copy()
    for parity in (0, 1):
        np.cumsum(numbers[parity::2], out=sums[parity::2])
    first = starts[:-1][np.diff(starts) > 0]
    ends = np.append(first[1:], len(numbers))
    padded = np.concatenate((np.zeros(2, np.int64), sums))  # nothing is before the first text
    runs = sums
    for parity in (0, 1):
        # What is of the parity of the second run begins after the one before the text.
        before = np.where((first & 1) == parity, padded[first + 2], padded[first + 1])
        here = (ends + 1 - parity) // 2 - (first + 1 - parity) // 2
        runs[parity::2] -= np.repeat(before, here)
    runs[first] = numbers[first]
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
        runs: As returned by ``parse``.
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
