"""What a training says of the weights that it left: in their file, and in the one beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from harness.core.architecture import LONGEST_EDGE_PX
from harness.core.dataset import Category
from harness.core.errors import IntegrityError, UsageError
from harness.core.run_files import RUN
from harness.files.json import read
from harness.files.safetensors_header import statement_text

#: Annotations that a training names there: of boxes and masks, and of every pixel.
DETECTION, PANOPTIC = "detection", "panoptic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What a file of weights itself says of how they are used, wherever it is moved to."""

    model: str
    """Name of the model entry."""

    short_edge_px: int
    """Length that the shorter edge of an image was resized to."""

    categories: tuple[Category, ...]
    """By class."""

    stuff: tuple[Category, ...] = ()
    """By class of a semantic head, from 1."""

    @property
    def text(self) -> str:
        """As it is written; the same for the same weights."""
        listed = {"categories": self.categories, "stuff": self.stuff}
        rows = {name: [_row(one) for one in some] for name, some in listed.items()}
        said = {"model": self.model, "short_edge_px": self.short_edge_px, **rows}
        return json.dumps(said, separators=(",", ":"))


def _row(category: Category) -> dict[str, Any]:
    """A category as COCO's files have it."""
    row: dict[str, Any] = {"id": category.category_id, "name": category.name}
    if category.keypoints:
        row |= {"keypoints": category.keypoints, "skeleton": category.skeleton}
    return row


def statement_of(weights: Path | None) -> Statement | None:
    """What a file of weights says of itself.

    Args:
        weights: A file of weights; None for the pinned ones.

    Returns:
        None where it says nothing, such as a file of an older version or of another program.

    Raises:
        IntegrityError: What it says is not what a training writes.
    """
    text = None if weights is None else statement_text(weights)
    if text is None:
        return None
    try:
        said = json.loads(text)
        model, short = said["model"], said["short_edge_px"]
        listed = [tuple(map(_category, said[name])) for name in ("categories", "stuff")]
        if type(model) is not str or not is_edge(short):
            raise ValueError("neither a name nor a size")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise IntegrityError(
            f"{weights} is damaged: what it says of its training cannot be read",
            hint="restore it from a copy, or make it again",
        ) from error
    return Statement(model=model, short_edge_px=short, categories=listed[0], stuff=listed[1])


def is_edge(length_px: Any) -> bool:
    """Whether a file may state this as the length that images are resized to."""
    return type(length_px) is int and 1 <= length_px <= LONGEST_EDGE_PX


def require_edges(*lengths_px: int | None, hint: str) -> None:
    """Check sizes that weights or an exported file are to state, which is read again later.

    Args:
        lengths_px: Edges that images are resized to; None for one that is not asked for.
        hint: What to do where one is too long.

    Raises:
        UsageError: One would be refused then.
    """
    largest = max((one for one in lengths_px if one is not None), default=0)
    if largest > LONGEST_EDGE_PX:
        raise UsageError(
            f"images would be resized to an edge of up to {largest:,} px; a file of weights may "
            f"state {LONGEST_EDGE_PX:,} px at most",
            hint=hint,
        )


def _category(row: Mapping[str, Any]) -> Category:
    number, name = row["id"], row["name"]
    points = tuple(row.get("keypoints", ()))
    lines = tuple((first, second) for first, second in row.get("skeleton", ()))
    texts, numbers = (name, *points), (number, *(end for line in lines for end in line))
    if {*map(type, texts)} != {str} or {*map(type, numbers)} != {int}:
        raise TypeError("neither a name nor a number")
    return Category(number, name, points, lines)


def learned_from(weights: Path | None, part: str = DETECTION) -> Path | None:
    """The annotation file of the training whose folder has ``weights``.

    Args:
        weights: A file of weights; None for the pinned ones.
        part: ``DETECTION`` or ``PANOPTIC`` annotations.

    Returns:
        None where no training left the file, or its annotations are no longer there.
    """
    run = _training_beside(weights)
    facts = None if run is None else run["dataset"]
    if facts is not None and part == PANOPTIC:
        facts = facts.get("panoptic")
    annotations = None if facts is None else Path(facts["annotations_path"])
    return annotations if annotations is not None and annotations.is_file() else None


class LearnedEdge(NamedTuple):
    """Short edge of the images that weights were trained on."""

    short_edge_px: int
    """Its length."""
    source: Path
    """What says so: the file of weights, or the folder of the training that it is in."""


def short_edge_learned(weights: Path | None) -> LearnedEdge | None:
    """The short edge of images that weights were trained on.

    By their own file; one of an older version is in the folder of its training.

    Args:
        weights: A file of weights; None for the pinned ones.

    Returns:
        None where no training left the file, or it kept the model's own.
    """
    if weights is None:
        return None
    if (said := statement_of(weights)) is not None:
        return LearnedEdge(said.short_edge_px, weights)
    run = _training_beside(weights)
    asked = None if run is None else run.get("request")
    short = asked.get("short_edge_px") if isinstance(asked, dict) else None
    return LearnedEdge(short, weights.parent) if isinstance(short, int) else None


def _training_beside(weights: Path | None) -> Mapping[str, Any] | None:
    """What ``run.json`` says where it is of the training that left ``weights``."""
    if weights is None or not (weights.parent / RUN).is_file():
        return None
    run = read(weights.parent / RUN)
    return run if isinstance(run, dict) and run.get("kind") == "train" else None
