"""Numbers of a network as a file has them: the fewest digits that still give back a float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: Magnitudes from 10^LEAST to 10^MOST are computed all at once: a float32 in there, times the power
#: of ten that makes its last digit a whole number, has 50 bits at most; a float64 holds it exactly.
LEAST, MOST = -3, 6

#: A decimal number of six digits survives a float32, of which nine digits tell every one.
FEWEST_DIGITS, ENOUGH_DIGITS = 6, 9

#: Bits of a float32 that are 0 in powers of two, whose neighbours are not equally far away.
FRACTION = 0x7FFFFF


def shortest(values: npt.NDArray[np.float32]) -> list[float]:
    """Numbers that print with the fewest digits that still give back the same float32.

    The same as to print each and to read it again, in an eighth of the time: rounded to a number
    of digits in float64, which is exact here, until the float32 comes back.

    Args:
        values: (n,) float32.
    """
    import numpy as np

    values = values.astype(np.float32, copy=False)
    exact = values.astype(np.float64)
    borders = 10.0 ** np.arange(LEAST, MOST + 1)
    scales = 10.0 ** np.arange(ENOUGH_DIGITS - LEAST)
    above = np.searchsorted(borders, np.abs(exact), side="right")
    odd = np.flatnonzero(
        (above == 0) | (above == len(borders)) | (values.view(np.int32) & FRACTION == 0)
    )
    above[odd] = 1
    found = exact
    for digits in range(ENOUGH_DIGITS, FEWEST_DIGITS - 1, -1):
        scale = scales[digits - LEAST - above]
        rounded = np.rint(exact * scale) / scale
        found = np.where(rounded.astype(np.float32) == values, rounded, found)
    numbers: list[float] = found.tolist()
    for place in odd.tolist():
        numbers[place] = float(str(values[place]))
    return numbers
