"""Checkpoints and data sets that come, models that go out as files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from harness.core.engine import MOST_THREADS, ExportFormat, Precision
from harness.core.model import Group
from harness.core.requests.inference import NO_SIZES, ModelSpec, RecipeOverrides
from harness.core.settings import part, setting

#: What an evaluation needs; the training images (19 GB) only come when they are asked for.
EVALUATION_GROUPS: tuple[Group, ...] = ("annotations", "val", "checkpoints")

#: Versions of ONNX's operators: the exporter's are of 18; ONNX Runtime 1.32 lacks 22's RoIAlign.
OPSETS = range(18, 22)


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadRequest:
    """What to fetch and prove."""

    group: ClassVar[str] = "what to download"

    only: tuple[Group, ...] = setting(
        EVALUATION_GROUPS,
        help="groups of files; the default is what evaluation needs",
        metavar="GROUP,…",
    )
    models: tuple[str, ...] = setting(
        (),
        help="only the checkpoints of these model entries",
        none="all",
        flag="--model",
        metavar="NAME,…",
    )
    root: Path = setting(Path("datasets"), help="folder everything goes to", place="datasets")
    mirror: str | None = setting(
        None,
        help="http, https or file address to fetch everything from, laid out as the originals",
        none="the published addresses",
        metavar="URL",
    )
    jobs: int = setting(4, help="connections at once", minimum=1, maximum=MOST_THREADS)
    keep_archives: bool = setting(False, help="keep archives after they were unpacked")
    dry_run: bool = setting(False, help="print what would be done, do nothing", kept=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """A network as a file for other runtimes, and the proof of it on a few images."""

    group: ClassVar[str] = "the file"

    network: ModelSpec = part(ModelSpec, group="what to export")
    annotations: Path | None = setting(
        None,
        help="COCO file that lists the classes of your own weights",
        none="the model's own",
        group="what to export",
    )
    panoptic: Path | None = setting(
        None,
        help="panoptic annotation file that lists the kinds of stuff of your own weights",
        none="the model's own",
        group="what to export",
    )
    output: Path | None = setting(
        None,
        help="file to write, ending .onnx or .pt2",
        none="<root>/exported/<model>.<format>",
        kept=False,
    )
    format: ExportFormat | None = setting(
        None,
        help="onnx for ONNX Runtime and others, pt2 for torch.export.load",
        none="the ending of --output, else onnx",
    )
    opset: int = setting(
        OPSETS[0],
        help=f"version of ONNX's operators, {OPSETS[0]} to {OPSETS[-1]}; for --format onnx",
        minimum=OPSETS[0],
        maximum=OPSETS[-1],
    )
    score_threshold: float | None = setting(
        None,
        help="lowest score of a detection, in the graph",
        none="the model's own",
        minimum=0,
        below=1,
    )
    max_detections: int | None = setting(
        None, help="detections kept for an image, in the graph", none="the model's own", minimum=1
    )
    recipe: RecipeOverrides = part(
        RecipeOverrides,
        without=NO_SIZES,
        group="the file",
    )
    """The file states them, so that what runs it resizes images as its training did."""
    images: Path | None = setting(
        None,
        help="folder of images to try the file on",
        none="the model's own data set, or the embedded one",
        group="the proof",
    )
    limit: int = setting(
        4, help="only the first N images by name", metavar="N", minimum=1, group="the proof"
    )
    threads: int | None = setting(
        None,
        help="CPU threads",
        none="all cores, or OMP_NUM_THREADS",
        minimum=1,
        maximum=MOST_THREADS,
        group="the proof",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckWeightsRequest:
    """A checkpoint read, and every tensor of it accounted for."""

    group: ClassVar[str] = "what to check"

    file: Path = setting(help="checkpoint file", positional=True)
    model: str | None = setting(None, help="model entry it must fit", none="any")
    annotations: Path | None = setting(
        None,
        help="COCO file that lists the classes of weights of your own",
        none="what weights or training in the folder say, else the model's own classes",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertWeightsRequest:
    """A checkpoint in another format."""

    group: ClassVar[str] = "what to convert"

    file: Path = setting(help="checkpoint file", positional=True)
    output: Path = setting(help="file to write, ending .pkl or .safetensors", positional=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeededWeightsRequest:
    """Calibrated random weights of a model."""

    group: ClassVar[str] = "what to write"

    model: str = setting(help="model entry; see: harness models")
    output: Path = setting(help="file to write, ending .pkl or .safetensors")
    seed: int | None = setting(
        None, help="seed of the random numbers", none="that of the golden numbers", minimum=0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityRequest:
    """Two implementations of a network compared stage by stage on the same images."""

    group: ClassVar[str] = "what to compare"

    network: ModelSpec = part(ModelSpec, model="R_50_FPN_3x", group="what to compare")
    images: Path = setting(help="folder of images")
    against: Literal["detectron2", "float64", "onnx", "pt2"] = setting(
        "detectron2", help="what the native engine is compared with"
    )
    device: str = setting(
        "auto", help="where it computes: auto, cpu, cuda or cuda:N; an exported file: on the CPU"
    )
    precision: Precision = setting("fp32", help="precision to prove, against its own rounding")
    exact_only: bool = setting(False, help="only the proof that --exact has Detectron2's bits")
    exported: Path | None = setting(
        None, help="exported file, with --against onnx or pt2", none="where harness export writes"
    )
    limit: int | None = setting(
        None, help="only the first N images by name", none="all", metavar="N", minimum=1
    )
    threads: int | None = setting(
        None,
        help="CPU threads",
        none="all cores, or OMP_NUM_THREADS",
        minimum=1,
        maximum=MOST_THREADS,
    )
