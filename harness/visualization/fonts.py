"""Letters of labels: a font that can write them, as high as the picture wants them."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from unicodedata import combining

from PIL import ImageFont

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
    if all(letter.isascii() or letter in OWN_LETTERS for letter in text):
        return text, _own_font(size_px)
    wide = _wide_font(size_px)
    if wide is not None:
        return text, wide
    bare = "".join(one for one in unicodedata.normalize("NFKD", text) if not combining(one))
    return bare.encode("ascii", "replace").decode("ascii"), _own_font(size_px)


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
