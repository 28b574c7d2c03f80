"""What a program asks for when it loads a model, a data set, or draws."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.core.drawing import DrawingStyle
from harness.core.requests.inference import EMBEDDED_MODEL, DataSpec, EngineOptions, ModelSpec
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
        help="COCO annotation file whose categories a checkpoint knows",
        none="the model's own",
    )
    root: Path = setting(ROOT, help="folder of checkpoints", place="datasets")
    options: EngineOptions = part(EngineOptions)
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
