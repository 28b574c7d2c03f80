"""How large an image is when it is shown, from the beginning of its file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import ExifTags
from PIL import Image as PillowImage

from harness.data.images import UPRIGHT

#: EXIF orientations that exchange height and width (Exif 2.3, tag 274).
SIDEWAYS = (5, 6, 7, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Of an image in pixels: as it is shown, and the EXIF orientation that makes it so."""

    height_px: int
    width_px: int
    orientation: int

    @property
    def stored_px(self) -> tuple[int, int]:
        """(height, width) as the file holds it, before it is turned upright."""
        if self.orientation in SIDEWAYS:
            return self.width_px, self.height_px
        return self.height_px, self.width_px


class UnreadableImage(Exception):
    """A file that Pillow cannot open."""


def size_of(path: Path) -> Size:
    """The size of an image file; only its header is read. Raises UnreadableImage."""
    try:
        with PillowImage.open(path) as image:
            width, height = image.size
            try:
                orientation = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
            except Exception:  # decoding takes any failure for "no orientation": so must this
                orientation = UPRIGHT
    except Exception as bad:  # Pillow's many decoders raise anything on damaged bytes
        raise UnreadableImage(str(bad)) from bad
    if orientation in SIDEWAYS:
        height, width = width, height
    return Size(height_px=height, width_px=width, orientation=orientation)
