"""Colours that tell things apart."""

from __future__ import annotations

import itertools
import math

from harness.visualization.palette import BLACK, WHITE, Colour, colour_of


def test_a_colour_stays_the_same() -> None:
    """Pictures of two runs are compared by eye: a change here is a change of all of them."""
    assert [colour_of(number).css for number in range(4)] == [
        "#53a6ff",
        "#ff9d84",
        "#00a874",
        "#c184f6",
    ]


def test_the_first_colours_are_far_apart() -> None:
    first = [colour_of(number) for number in range(12)]
    assert min(math.dist(one, other) for one, other in itertools.combinations(first, 2)) > 25
    assert min(math.dist(one, other) for one, other in itertools.pairwise(first)) > 90


def test_eighty_classes_have_eighty_colours() -> None:
    assert len({colour_of(number) for number in range(80)}) == 80


def test_ink_is_legible_on_every_colour() -> None:
    """A contrast of at least 3 to 1, which WCAG 2.1 asks of large letters."""
    for number in range(200):
        colour = colour_of(number)
        light, dark = sorted((luminance(colour), luminance(colour.ink)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 3, colour


def test_mixing_goes_all_the_way() -> None:
    assert WHITE.mixed(BLACK, 0.0) == WHITE
    assert WHITE.mixed(BLACK, 1.0) == BLACK


def luminance(colour: Colour) -> float:
    """Relative luminance of WCAG 2.1."""
    linear = [
        part / 255 / 12.92 if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4
        for part in colour
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
