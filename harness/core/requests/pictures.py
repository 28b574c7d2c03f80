"""What a user asks for when pictures are to come out, typed as in ``core.requests``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from harness.core.drawing import DrawingStyle
from harness.core.requests.inference import (
    MOST_RESAMPLES,
    NEW_RUN,
    BenchRequest,
    EvalRequest,
    InferenceRequest,
    SweepRequest,
)
from harness.core.requests.reports import ForeignOptions
from harness.core.requests.training import TrainRequest
from harness.core.settings import part, setting
from harness.core.tasks import ObjectTask

#: What may be shown: detections matched with objects, or maps of segments.
ShownTask = Literal[ObjectTask, "panoptic_seg"]

PictureFormat = Literal["jpg", "png", "none"]

#: Pictures of a page, unless more are asked for: enough to see what is wrong.
MOST_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRequest:
    """Detections on pictures of the user's own, and drawings of them."""

    group: ClassVar[str] = "the run"

    paths: tuple[str, ...] = setting(
        help="images, folders of them, or quoted globs",
        positional=True,
        spaced=True,
        files=True,
        metavar="PATH",
    )
    inference: InferenceRequest = part(
        InferenceRequest,
        nested=True,
        without=(
            *("proposals", "panoptic_masks"),
            *("dataset", "images", "limit", "verify_images"),
        ),
        changed={
            "annotations": {
                "help": "COCO annotation file with the categories that --weights learned",
                "none": "the model's own",
            },
            "panoptic": {
                "help": "panoptic annotation file with the kinds of stuff that --weights learned",
                "none": "the model's own",
            },
        },
    )
    style: DrawingStyle = part(DrawingStyle, nested=True)
    """Its threshold also decides what is written."""
    output: Path | None = setting(None, help="run folder", none=NEW_RUN, kept=False)
    pictures: PictureFormat = setting("jpg", help="format of the drawings; none: do not draw")
    resume: bool = setting(False, help="continue an unfinished run", kept=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowRequest:
    """Pictures of what a data set says, or of what was predicted beside it."""

    group: ClassVar[str] = "what to show"

    run: Path | None = setting(
        None,
        help="run folder of harness eval, finished or not",
        positional=True,
        none="--annotations with --images",
    )
    annotations: Path | None = setting(None, help="COCO annotation file", none="the run's")
    images: Path | None = setting(
        None, help="folder of the images that the annotation file lists", none="the run's"
    )
    predictions: Path | None = setting(
        None, help="COCO results file, to be shown beside the annotations", none="the run's"
    )
    foreign: ForeignOptions = part(ForeignOptions, group="what to show")
    task: ShownTask = setting(
        "bbox", help="what has to overlap for a true positive; panoptic_seg shows the maps of a run"
    )
    sample: int | None = setting(
        None, help="N images at random", none="all", metavar="N", minimum=1, group="which images"
    )
    seed: int = setting(0, help="seed of the random choice", group="which images")
    image_ids: tuple[int, ...] = setting(
        (),
        help="these images",
        none="all",
        flag="--image",
        metavar="ID",
        spaced=True,
        group="which images",
    )
    most: int | None = setting(
        None,
        help="draw at most this many images, the worst; 0 for all",
        none=f"{MOST_SHOWN}, or all that --sample or --image chose",
        metavar="N",
        minimum=0,
        group="which images",
    )
    select: bool = setting(
        False,
        help="offer to tick images, and to save their names for harness data subset --names",
        group="which images",
    )
    style: DrawingStyle = part(DrawingStyle, nested=True)
    output: Path | None = setting(
        None,
        help="folder of the pictures",
        none="show in the run, or results/pictures/<name>",
        kept=False,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareRequest:
    """What differs between two runs."""

    group: ClassVar[str] = "what to compare"

    first: Path = setting(
        help="run folder of harness eval or train (its best), or a file of predictions",
        positional=True,
    )
    second: Path = setting(help="another one, of the same images", positional=True)
    annotations: Path | None = setting(
        None,
        help="COCO annotation file that files of predictions are scored against",
        none="the runs'",
    )
    foreign: ForeignOptions = part(ForeignOptions, group="what to compare")
    others: tuple[Path, ...] = setting(
        (),
        help="more of them: then all are in one table with size and speed of their networks",
        none="none",
        positional=True,
        spaced=True,
    )
    plot: Path | None = setting(
        None,
        help="draw AP over time and size of the networks, beside the table of several runs",
        none="no plot",
        metavar="FILE",
        kept=False,
    )
    resamples: int = setting(
        200,
        help="draws of the paired bootstrap; 0 for none",
        metavar="N",
        minimum=0,
        maximum=MOST_RESAMPLES,
    )
    html: Path | None = setting(
        None, help="also write a page with pictures", none="no page", metavar="FILE", kept=False
    )
    threshold: float = setting(
        0.5, help="lowest score that is drawn on the page's pictures", minimum=0, maximum=1
    )


#: Requests whose work leaves a run folder.
FolderRequest = EvalRequest | BenchRequest | SweepRequest | TrainRequest | PredictRequest
