"""Colours that tell things apart: stable, of even brightness, with an ink legible on each."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

#: Turns by the golden angle never come back near a hue that was used a few steps before.
GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))

#: Where the wheel begins (a blue), and the lightness and chroma of three rounds in turn: hues that
#: are near each other after many steps still differ in lightness.
FIRST_HUE = 4.45
ROUNDS = ((0.72, 0.17), (0.82, 0.15), (0.62, 0.19))


class Colour(NamedTuple):
    """8-bit red, green, blue."""

    red: int
    green: int
    blue: int

    def mixed(self, other: Colour, share: float) -> Colour:
        """The colour with ``share`` (0…1) of another one in it."""
        return Colour(*(round(a + (b - a) * share) for a, b in zip(self, other, strict=True)))

    @property
    def ink(self) -> Colour:
        """Black or white: what can be read on this colour, with a contrast of 3 to 1 at least.

        By the relative luminance of WCAG 2.1. White on saturated red and blue is easier on the eye
        than black, so it is preferred up to where its contrast ends.
        """
        weights = (0.2126, 0.7152, 0.0722)
        luminance = sum(w * _linear(part) for w, part in zip(weights, self, strict=True))
        return BLACK if luminance > 0.29 else WHITE

    @property
    def css(self) -> str:
        """``#rrggbb``."""
        return f"#{self.red:02x}{self.green:02x}{self.blue:02x}"


BLACK, WHITE = Colour(0, 0, 0), Colour(255, 255, 255)


@lru_cache(maxsize=4096)
def colour_of(number: int) -> Colour:
    """Return colour ``number``, always the same; consecutive ones are far apart."""
    lightness, chroma = ROUNDS[number % len(ROUNDS)]
    return _from_oklch(lightness, chroma, FIRST_HUE + number * GOLDEN_ANGLE)


def _from_oklch(lightness: float, chroma: float, hue: float) -> Colour:
    """The sRGB of a colour in OKLCH, whose numbers are even to the eye; cut at the gamut.

    The matrices are those of Björn Ottosson, "A perceptual color space for image processing", 2020.
    """
    a, b = chroma * math.cos(hue), chroma * math.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
    )
    return Colour(*(round(255 * _encoded(min(max(part, 0.0), 1.0))) for part in linear))


def _encoded(linear: float) -> float:
    """The sRGB transfer function (IEC 61966-2-1)."""
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055


def _linear(encoded: int) -> float:
    part = encoded / 255
    return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)
