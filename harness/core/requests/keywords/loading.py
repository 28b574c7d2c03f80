"""Keywords of the Python API: settings of ``loading``.

Written by ``scripts/write_keywords.py`` from the requests, which define every setting; never
imported when a program runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypedDict

from harness.core.requests.keywords.inference import EngineOptionsKeys


class LoadModelSettings(EngineOptionsKeys, total=False):
    """Keywords of `load_model`, those of `LoadRequest`."""

    model: str | None
    """Model entry of a checkpoint (default: that of the run that left it)."""

    annotations: str | Path | None
    """COCO annotation file with the categories that a checkpoint learned (default: the model's
    own)."""

    panoptic: str | Path | None
    """Panoptic annotation file with the kinds of stuff that a checkpoint learned (default: the
    model's own)."""

    root: str | Path
    """Folder of checkpoints (default: datasets)."""

    short_edge_px: int | None
    """Length the shorter edge of an image is resized to (in px; default: that of the run or the
    training of the weights, else the model's own)."""

    long_edge_max_px: int | None
    """Greatest length of the longer edge after resizing (in px; default: that of the run or the
    training of the weights, else the model's own)."""

    threshold: float
    """Lowest score of a detection, 0 to 1 (default: 0.5)."""


class LoadDatasetSettings(TypedDict, total=False):
    """Keywords of `load_dataset`, those of `DatasetRequest`."""

    annotations: str | Path | None
    """COCO annotation file of your own (default: the data set's)."""

    images: str | Path | None
    """Folder of the images that the annotation file lists (default: the data set's)."""

    panoptic: str | Path | None
    """Panoptic annotation file of the same images (default: the data set's)."""

    panoptic_masks: str | Path | None
    """Folder of the PNGs that the panoptic annotation file lists (default: beside that file, with
    its name)."""

    limit: int | None
    """Only the first N images; the numbers are then not comparable (default: all)."""

    verify_images: bool
    """Recognise images that were replaced by their contents, not by size and time."""

    root: str | Path
    """Folder of data sets (default: datasets)."""


class DrawSettings(TypedDict, total=False):
    """Keywords of `draw`, those of `DrawRequest`."""

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
