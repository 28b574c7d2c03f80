"""Letters of labels: a font that can write them, as high as the picture wants them."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from math import modf
from typing import NamedTuple
from unicodedata import combining

from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

#: Of the short edge of a picture: the height of letters, and its limits.
TEXT_SHARE, TEXT_LIMITS_PX = 1 / 32, (10, 48)

#: Letters shrink to this share between so few and so many labels.
CROWDED_SHARE, CROWDED_LABELS = 0.66, (8, 40)

#: What Pillow's own font writes beside ASCII.
OWN_LETTERS = "…"

#: Fonts of systems that write more, the widest first.
WIDE_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "Arial Unicode.ttf",
    "PingFang.ttc",
    "msyh.ttc",
    "NotoSans-Regular.ttf",
    "DejaVuSans.ttf",
    "Arial.ttf",
)

#: A longer label is cut.
LONGEST_LABEL = 40


def text_px(labels: int, short_edge_px: int) -> int:
    """The height of letters in a picture with so many labels."""
    few, many = CROWDED_LABELS
    crowded = min(max(labels - few, 0) / (many - few), 1.0)
    shrunk = TEXT_SHARE * short_edge_px * (1 - (1 - CROWDED_SHARE) * crowded)
    low, high = TEXT_LIMITS_PX
    return round(min(max(shrunk, low), high))


def one_line(text: str) -> str:
    """The text without line breaks; too long for a label, it keeps its beginning and last word."""
    words = text.split()
    flat = " ".join(words)
    if len(flat) <= LONGEST_LABEL:
        return flat
    last = words[-1][-LONGEST_LABEL // 4 :]
    return f"{flat[: LONGEST_LABEL - len(last) - 2]}… {last}"


def lettering(text: str, size_px: int) -> tuple[str, ImageFont.FreeTypeFont]:
    """The text as it can be written, and the font for it.

    Pillow's own font, the same on every machine, writes English; other letters need a font of the
    system, and without one they lose their accents, or become question marks.
    """
    if _is_own(text):
        return text, _own_font(size_px)
    wide = _wide_font(size_px)
    if wide is not None:
        return text, wide
    bare = "".join(one for one in unicodedata.normalize("NFKD", text) if not combining(one))
    return bare.encode("ascii", "replace").decode("ascii"), _own_font(size_px)


def _is_own(text: str) -> bool:
    """Whether Pillow's own font writes a text."""
    return text.isascii() or all(one.isascii() or one in OWN_LETTERS for one in text)


#: Ink as a picture has it.
Ink = tuple[int, int, int]


class _Word(NamedTuple):
    """One word as it is written, in Pillow's own font."""

    mask: PillowImage.Image | None
    """How opaque each pixel is; None for a word without ink."""
    left: int
    """First column of the mask, from where the word starts."""
    top: int
    """First row of the mask, from where the text starts."""
    length_px: float
    """How far the next letter is from the word's start."""


#: Words that are kept: the names of a data set, percentages and reasons, in some sizes.
WORDS_KEPT = 4096


@lru_cache(maxsize=WORDS_KEPT)
def _word(word: str, font: ImageFont.FreeTypeFont, start: tuple[float, float]) -> _Word:
    """A word from ``start``, a part of a pixel to the right and below."""
    length = font.getlength(word)
    room = 2 * round(font.size)  # letters reach beyond their length, and below the line
    sheet = PillowImage.new("L", (round(length) + 2 * room, 2 * room))
    ImageDraw.Draw(sheet).text((room + start[0], start[1]), word, fill=255, font=font)
    inked = sheet.getbbox()
    if inked is None:
        return _Word(None, 0, 0, length)
    return _Word(sheet.crop(inked), inked[0] - room, inked[1], length)


def length_px(text: str, font: ImageFont.FreeTypeFont) -> float:
    """How long a text of ``lettering`` is."""
    if not _is_own(text):
        return font.getlength(text)
    words = [_word(one, font, (0.0, 0.0)).length_px for one in text.split(" ")]
    return sum(words) + (len(words) - 1) * _word(" ", font, (0.0, 0.0)).length_px


def write(
    pen: ImageDraw.ImageDraw,
    start_px: tuple[float, float],
    text: str,
    font: ImageFont.FreeTypeFont,
    ink: Ink,
) -> None:
    """Write a text of ``lettering``, as ``pen.text`` does.

    Labels of many pictures have few words. Pillow's own font draws each at whole pixels and moves
    none closer to a space, so they are kept as they were drawn first.
    """
    if not _is_own(text):
        pen.text(start_px, text, fill=ink, font=font)
        return
    (part_x, x), (part_y, y) = (modf(one) for one in start_px)
    space = _word(" ", font, (part_x, part_y)).length_px
    for word in (_word(one, font, (part_x, part_y)) for one in text.split(" ")):
        if word.mask is not None:
            pen.bitmap((int(x) + word.left, int(y) + word.top), word.mask, fill=ink)
        x += word.length_px + space


@lru_cache(maxsize=64)
def _own_font(size_px: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size_px)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow's wheels have FreeType"
    return font


@lru_cache(maxsize=64)
def _wide_font(size_px: int) -> ImageFont.FreeTypeFont | None:
    for name in WIDE_FONTS:
        try:
            return ImageFont.truetype(name, size_px)
        except OSError:
            continue
    return None
