"""Letters of labels."""

from __future__ import annotations

import pytest

from harness.visualization import fonts
from harness.visualization.fonts import LONGEST_LABEL, lettering, one_line, text_px


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
