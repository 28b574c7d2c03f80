"""Checkpoints and data sets that come, models that go out as files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.core.model import Group
from harness.core.requests.inference import EMBEDDED_MODEL

#: What an evaluation needs; the training images (19 GB) only come when they are asked for.
EVALUATION_GROUPS: tuple[Group, ...] = ("annotations", "val", "checkpoints")

#: Versions of ONNX's operators: the exporter's are of 18; ONNX Runtime 1.32 lacks 22's RoIAlign.
OPSETS = range(18, 22)


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadRequest:
    """What to fetch and prove.

    only: groups of artefacts. models: of the group checkpoints, only those of these model entries;
    empty for all. mirror: an http, https or file address below which everything lies under the
    path of its own address. jobs: connections at once. keep_archives: keep what was unpacked.
    """

    only: tuple[Group, ...] = EVALUATION_GROUPS
    models: tuple[str, ...] = ()
    root: Path = Path("datasets")
    mirror: str | None = None
    jobs: int = 4
    keep_archives: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """A network as an ONNX file.

    weights: a checkpoint instead of the pinned one; annotations: a COCO file that names its
    classes. output: ending .onnx, None for ``<root>/exported/<model>.onnx``. opset: of ONNX.
    score_threshold, max_detections: become part of the graph, None for the model's own. images:
    folder that the file is tried on, None for the model's own data set or, where that is not on
    disk, the embedded one. limit: so many of them.
    """

    model: str = EMBEDDED_MODEL
    weights: Path | None = None
    annotations: Path | None = None
    root: Path = Path("datasets")
    output: Path | None = None
    opset: int = OPSETS[0]
    score_threshold: float | None = None
    max_detections: int | None = None
    images: Path | None = None
    limit: int = 4
    threads: int | None = None
