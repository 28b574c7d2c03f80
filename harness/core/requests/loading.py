"""What is asked for when a model is loaded, by a program or to be served; a data set; a drawing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.core.drawing import DrawingStyle
from harness.core.requests.inference import (
    EMBEDDED_MODEL,
    NO_SIZES,
    SIZES,
    DataSpec,
    EngineOptions,
    ModelSpec,
    RecipeOverrides,
)
from harness.core.settings import part, setting

#: Where data sets and checkpoints are: the setting of every command.
ROOT = ModelSpec().root


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """A model that finds objects in images."""

    group: ClassVar[str] = "what to load"

    source: str = setting(
        EMBEDDED_MODEL, help="model entry, run folder or checkpoint file", positional=True
    )
    model: str | None = setting(
        None, help="model entry of a checkpoint", none="that of the run that left it"
    )
    annotations: Path | None = setting(
        None,
        help="COCO annotation file with the categories that a checkpoint learned",
        none="the model's own",
    )
    panoptic: Path | None = setting(
        None,
        help="panoptic annotation file with the kinds of stuff that a checkpoint learned",
        none="the model's own",
    )
    root: Path = setting(ROOT, help="folder of checkpoints", place="datasets")
    options: EngineOptions = part(EngineOptions)
    recipe: RecipeOverrides = part(
        RecipeOverrides,
        without=NO_SIZES,
        group="what to load",
        changed={
            name: {"none": "that of the run or the training of the weights, else the model's own"}
            for name in SIZES
        },
    )
    threshold: float = setting(
        DrawingStyle().threshold, help="lowest score of a detection, 0 to 1", minimum=0, below=1
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRequest:
    """A data set: a known name, or a file and a folder together."""

    group: ClassVar[str] = "what to load"

    data: DataSpec = part(
        DataSpec, without=("proposals",), changed={"dataset": {"positional": True}}
    )
    root: Path = setting(ROOT, help="folder of data sets", place="datasets")


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawRequest:
    """Detections on their image."""

    style: DrawingStyle = part(DrawingStyle, without=("threshold",), threshold=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeRequest:
    """A service that infers what it is sent."""

    group: ClassVar[str] = "the service"

    network: ModelSpec = part(ModelSpec, group="what to serve")
    annotations: Path | None = setting(
        None,
        help="COCO annotation file with the categories that the weights learned",
        none="the model's own",
        group="what to serve",
    )
    panoptic: Path | None = setting(
        None,
        help="panoptic annotation file with the kinds of stuff that the weights learned",
        none="the model's own",
        group="what to serve",
    )
    images: Path | None = setting(
        None,
        help="folder of images to try the model on; with --annotations those that have objects",
        none="the model's own data set",
        group="what to serve",
    )
    options: EngineOptions = part(EngineOptions, without=("batch_size", "loaders"))
    recipe: RecipeOverrides = part(RecipeOverrides, without=NO_SIZES, group="what to serve")
    host: str = setting("127.0.0.1", help="address to listen on")
    port: int = setting(
        8000, help="port to listen on; 0 takes a free one", minimum=0, maximum=65535
    )
    allow_host: tuple[str, ...] = setting(
        (),
        help="names that addresses may have beside localhost and --host; * for any",
        none="none",
        metavar="A,B",
    )
    allow_origin: tuple[str, ...] = setting(
        (),
        help="sites whose pages may send images, such as https://example.org; * for any",
        none="none",
        metavar="A,B",
    )
    max_upload_mb: float = setting(
        20.0, help="largest request", unit="10^6 bytes", metavar="MB", above=0
    )
    max_megapixels: float = setting(
        50.0,
        help="largest image, before and after scaling",
        unit="10^6 pixels",
        metavar="MP",
        above=0,
    )
    queue: int = setting(
        16,
        help="images in the service at once; further requests get status 503",
        metavar="N",
        minimum=1,
    )
    quiet: bool = setting(False, help="no line for each request")
