"""What ``harness show`` answers."""

from __future__ import annotations

from dataclasses import dataclass

from harness.core.predicted import Unreadable


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCounts:
    """One image of a run, and how many of its detections and objects are which."""

    image_id: int
    """COCO's id."""
    file_name: str
    """Relative to the folder of images."""
    true_positives: int
    """Detections of an object."""
    false_positives: int
    """Detections of none."""
    false_negatives: int
    """Objects without a detection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowReport:
    """What was shown. Counts are of all images that were read, None without predictions."""

    page: str
    """The HTML page."""
    images: int
    """How many were read."""
    drawn: int
    """How many have a picture."""
    objects: int
    """Annotations of these images."""
    true_positives: int | None
    """Detections of an object."""
    false_negatives: int | None
    """Objects without a detection."""
    false_positives: dict[str, int] | None
    """Detections of none, by kind (``measure.matching.Kind``)."""
    worst: tuple[ImageCounts, ...]
    """The drawn images, most errors first."""
    unreadable: tuple[Unreadable, ...]
    """Images that could not be read, and why."""
