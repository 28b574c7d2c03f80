"""What a user asks for when pictures are to come out, typed as in ``core.requests``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.core.drawing import DEFAULT_STYLE, DrawingStyle
from harness.core.requests import RunRequest
from harness.core.requests.inference import InferenceRequest

PictureFormat = Literal["jpg", "png", "none"]
PICTURE_FORMATS: tuple[PictureFormat, ...] = ("jpg", "png", "none")

PLAIN_INFERENCE = InferenceRequest()

#: Pictures of a page, unless more are asked for: enough to see what is wrong.
MOST_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRequest:
    """Detections on pictures of the user's own, and drawings of them.

    paths: files, folders and globs. inference: its annotations name the categories of weights of
    the user's own; it has no data set. style: its threshold also decides what is written. pictures:
    how they are written, or that none are.
    """

    paths: tuple[str, ...]
    inference: InferenceRequest = PLAIN_INFERENCE
    style: DrawingStyle = DEFAULT_STYLE
    pictures: PictureFormat = "jpg"
    output: Path | None = None
    resume: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowRequest:
    """Pictures of what a data set says, or of what was predicted beside it.

    run: a finished evaluation; or annotations with images, and predictions of them or none. task:
    what must overlap for a detection to be a hit. sample: so many images at random by ``seed``.
    image_ids: these images. most: at most so many pictures, the worst; 0 for all, None for all that
    were chosen one way or the other, or else MOST_SHOWN.
    """

    run: Path | None = None
    annotations: Path | None = None
    images: Path | None = None
    predictions: Path | None = None
    task: Literal["bbox", "segm"] = "bbox"
    sample: int | None = None
    seed: int = 0
    image_ids: tuple[int, ...] = ()
    most: int | None = None
    style: DrawingStyle = DEFAULT_STYLE
    output: Path | None = None


#: Requests whose work leaves a run folder.
FolderRequest = RunRequest | PredictRequest
