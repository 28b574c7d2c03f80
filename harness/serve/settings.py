"""The settings of one request, which are in the query of its URL."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Annotated

from fastapi import Query, Request

from harness.core.drawing import LARGEST_SCALE, Background, ColourBy, DrawingStyle
from harness.serve.failures import refused
from harness.serve.negotiation import AnswerFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of ``POST /predict``. FastAPI reads, checks and documents them."""

    format: Annotated[
        AnswerFormat | None, Query(description="instead of the Accept header; without both, png")
    ] = None
    """Of the answer; None leaves it to the Accept header."""

    threshold: Annotated[
        float, Query(ge=0, le=1, description="objects with a lower score are left out")
    ] = 0.5
    """The lowest score of an object that is drawn or listed, 0 to 1."""

    background: Annotated[
        Background, Query(description="grey takes the colour from all that is no object")
    ] = "colour"
    """What is drawn where no object is."""

    colour_by: Annotated[
        ColourBy, Query(description="a colour for each object, or for each category")
    ] = "instance"
    """What has a colour of its own."""

    opacity: Annotated[float, Query(ge=0, le=1, description="of masks")] = 0.5
    """Of masks, 0 to 1."""

    boxes: Annotated[bool, Query(description="draw boxes")] = True
    """Whether boxes are drawn."""

    labels: Annotated[bool, Query(description="write category and score")] = True
    """Whether category and score are drawn."""

    scale: Annotated[
        float,
        Query(gt=0, le=LARGEST_SCALE, description="size of the drawn picture against the one sent"),
    ] = 1.0
    """Size of the drawn picture relative to the image."""

    polygons: Annotated[
        bool, Query(description="JSON: outlines of masks too, as COCO's polygons")
    ] = False
    """Whether the JSON has outlines of masks."""

    picture: Annotated[
        bool, Query(description="JSON: also the picture as it was decoded, upright, a data: URL")
    ] = False
    """Whether the JSON has the decoded image."""

    @property
    def style(self) -> DrawingStyle:
        """The settings that say how the picture is drawn."""
        return DrawingStyle(
            background=self.background,
            colour_by=self.colour_by,
            opacity=self.opacity,
            boxes=self.boxes,
            labels=self.labels,
            scale=self.scale,
            threshold=self.threshold,
        )


def require_known(request: Request) -> None:
    """Check that every setting exists: an unknown one would be ignored without a message.

    Raises:
        Refusal: 422, with the nearest name there is.
    """
    known = list(Settings.__dataclass_fields__)
    for name in request.query_params:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise refused(
                422,
                f"there is no setting {name}",
                expected=", ".join(known),
                found=name,
                next_step=f"did you mean {near[0]}?" if near else "see /docs",
            )
