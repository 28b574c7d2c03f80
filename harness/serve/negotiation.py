"""The format of the answer: by ``?format=``, else by the Accept header."""

from __future__ import annotations

from typing import Literal

from harness.serve.failures import refused

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
