"""Keywords of the Python API: settings of ``drawing``.

Written by ``scripts/write_keywords.py`` from the requests, which define every setting; never
imported when a program runs.
"""

from __future__ import annotations

from typing import Literal, TypedDict


class DrawingStyleKeys(TypedDict, total=False):
    """Keywords of `DrawingStyle`."""

    threshold: float
    """Lowest score that is drawn and counted (default: 0.5)."""

    background: Literal["colour", "grey"]
    """Colours of the image around the objects; grey: without them (default: colour)."""

    colour_by: Literal["instance", "class"]
    """What gets a colour of its own (default: instance)."""

    opacity: float
    """Opacity of masks, 0 to 1 (default: 0.5)."""

    boxes: bool
    """Draw boxes (default: on)."""

    labels: bool
    """Write category and score (default: on)."""

    scale: float
    """Size of the drawing, as a multiple of the image's (default: 1)."""
