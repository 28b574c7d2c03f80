"""Letters of labels."""

from __future__ import annotations

import string

import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL import ImageDraw

from harness.visualization import fonts
from harness.visualization.fonts import (
    LONGEST_LABEL,
    length_px,
    lettering,
    one_line,
    text_px,
    write,
)


def test_letters_grow_with_the_picture_and_shrink_in_a_crowd() -> None:
    assert text_px(1, 480) < text_px(1, 960)
    assert text_px(60, 960) < text_px(1, 960)
    assert text_px(1, 10) == text_px(1, 20) == 10
    assert text_px(1, 100_000) == 48


def test_a_label_is_one_line_and_keeps_its_score() -> None:
    assert one_line("two\nlines  5%") == "two lines 5%"
    long = one_line("a name that nobody wants to read as a whole 50%")
    assert len(long) <= LONGEST_LABEL
    assert long.startswith("a name that")
    assert long.endswith("… 50%")


def test_english_has_the_same_font_everywhere() -> None:
    text, font = lettering("traffic light 98%", 16)
    assert text == "traffic light 98%"
    assert font.getname()[0] == "Aileron"


def test_without_a_font_letters_lose_their_accents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "WIDE_FONTS", ("no such font.ttf",))
    fonts._wide_font.cache_clear()
    try:
        assert lettering("café 猫 9%", 16)[0] == "cafe ? 9%"
    finally:
        fonts._wide_font.cache_clear()


@pytest.mark.parametrize("size_px", [10, 13, 31, 48])
@pytest.mark.parametrize("start", [(7.0, 5.0), (7.5, 5.25), (-20.5, 3.75)])
def test_words_that_are_kept_look_as_pillow_writes_the_whole(
    size_px: int, start: tuple[float, float]
) -> None:
    every = "".join(sorted(set(string.printable) - set(string.whitespace)))
    beside_spaces = " ".join(every)
    texts = ["sports ball 57%, is chair", "W. fj y", "  two  spaces ", "cut… 5%", "", every]
    for text in [*texts, beside_spaces]:
        given, font = lettering(text, size_px)
        assert length_px(given, font) == font.getlength(given)
        pictures = []
        for by in (
            lambda pen, given=given, font=font: pen.text(
                start, given, fill=(9, 99, 255), font=font
            ),
            lambda pen, given=given, font=font: write(pen, start, given, font, (9, 99, 255)),
        ):
            picture = PillowImage.new("RGB", (900, 80), (40, 0, 120))
            by(ImageDraw.Draw(picture))
            pictures.append(np.asarray(picture))
        assert np.array_equal(*pictures), text
        assert (pictures[0] != (40, 0, 120)).any() == bool(text.strip())


def test_letters_of_a_font_of_the_system_are_written_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fonts, "_wide_font", fonts._own_font)
    text, font = lettering("né 5%", 14)
    picture, expected = (PillowImage.new("RGB", (90, 30)) for _ in range(2))
    write(ImageDraw.Draw(picture), (3.5, 4.25), text, font, (255, 255, 255))
    ImageDraw.Draw(expected).text((3.5, 4.25), text, fill=(255, 255, 255), font=font)
    assert np.array_equal(np.asarray(picture), np.asarray(expected))
    assert length_px(text, font) == font.getlength(text)
