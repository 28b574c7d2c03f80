"""The settings of one request, from the query of its URL, and the format of its answer."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Query, Request

from harness.core.drawing import LARGEST_SCALE, Background, ColourBy, DrawingStyle
from harness.serve.failures import refused


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
        Background, Query(description="grey takes the colour from all that is not an object")
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


AnswerFormat = Literal["png", "jpeg", "json"]

#: In the order of preference: a client that accepts anything gets a picture.
MEDIA_TYPES: dict[AnswerFormat, str] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "json": "application/json",
}


def chosen_format(asked: AnswerFormat | None, accept: str | None) -> AnswerFormat:
    """Return the format that is requested, else the one the Accept header prefers.

    Args:
        asked: The setting ``format``; None where it is not given.
        accept: The Accept header; None accepts everything.

    Raises:
        Refusal: 406 when the header accepts none of them.
    """
    if asked is not None:
        return asked
    ranges = _ranges(accept or "*/*")
    weights = {name: _weight(kind, ranges) for name, kind in MEDIA_TYPES.items()}
    best = max(weights, key=lambda name: weights[name])
    if weights[best] <= 0:
        raise refused(
            406,
            "there is no answer of a type that the client accepts",
            expected=", ".join(MEDIA_TYPES.values()),
            found=accept,
            next_step="send another Accept header, or ask with ?format=json",
        )
    return best


def _ranges(accept: str) -> dict[str, float]:
    """Return the weight by media range (RFC 9110, 12.5.1); an unreadable weight is 1."""
    found = {}
    for part in accept.split(","):
        name, *parameters = (word.strip().lower() for word in part.split(";"))
        weight = next((word[2:] for word in parameters if word.startswith("q=")), "1")
        try:
            found[name] = float(weight)
        except ValueError:
            found[name] = 1.0
    return found


def _weight(kind: str, ranges: dict[str, float]) -> float:
    """Return the weight of the most specific range that ``kind`` is in; 0 where it is in none."""
    family = f"{kind.partition('/')[0]}/*"
    return next((ranges[name] for name in (kind, family, "*/*") if name in ranges), 0.0)
