"""How pictures are drawn: what a user may choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from harness.core.settings import check_settings, setting

Background = Literal["colour", "grey"]
ColourBy = Literal["instance", "class"]

LARGEST_SCALE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawingStyle:
    """How detections are drawn."""

    group: ClassVar[str] = "how it is drawn"

    threshold: float = setting(
        0.5, help="lowest score that is drawn and counted", minimum=0, maximum=1
    )
    """It has nothing to do with the recipe that numbers are measured with."""
    background: Background = setting(
        "colour", help="colours of the image around the objects; grey: without them"
    )
    colour_by: ColourBy = setting("instance", help="what gets a colour of its own")
    opacity: float = setting(0.5, help="opacity of masks, 0 to 1", minimum=0, maximum=1)
    boxes: bool = setting(True, help="draw boxes")
    labels: bool = setting(True, help="write category and score")
    scale: float = setting(
        1.0,
        help="size of the drawing, as a multiple of the image's",
        above=0,
        maximum=LARGEST_SCALE,
    )

    def __post_init__(self) -> None:
        check_settings(self)


DEFAULT_STYLE = DrawingStyle()
