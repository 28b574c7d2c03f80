"""What a run leaves behind: one typed record, validated and schema'd by ``harness.files.json``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from harness.core.checks import Check, Verdict
from harness.core.engine import EngineInfo
from harness.core.tasks import Task

SCHEMA_VERSION: Literal[1] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where a run happened: enough to tell two machines apart."""

    python: str
    """Version of Python."""

    platform: str
    """Operating system."""

    hostname: str
    """Name of the machine."""

    cpu: str
    """Product name of the processor."""

    cpu_count: int
    """Cores the process may use."""

    memory_bytes: int
    """Physical memory."""

    packages: dict[str, str]
    """Version of each package that can change a number."""

    cuda: str | None
    """CUDA version torch was built for; None for a CPU build."""

    driver: str | None
    """Version of the NVIDIA driver; None without one."""

    gpus: tuple[str, ...]
    """Product names of the GPUs."""

    git_commit: str | None
    """Commit of the checkout; None outside of one."""

    git_dirty: bool | None
    """Whether tracked files differ from that commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PanopticFacts:
    """Which panoptic annotations a number was measured on."""

    annotations_path: str
    """The panoptic annotation file."""

    folder: str
    """Folder of its PNGs."""

    digest: str
    """sha256 of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """Which data a number was measured on."""

    name: str
    """Name of the data set."""

    annotations_path: str
    """The annotation file."""

    images_dir: str
    """Folder of the images."""

    digest: str
    """sha256 of the annotation file."""

    image_count: int
    """Number of images of the data set."""

    evaluated_images: int
    """Number of images that were used."""

    warnings: tuple[str, ...]
    """Oddities of the file, one sentence each."""

    panoptic: PanopticFacts | None = None
    """Its panoptic annotations; None where none were used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFacts:
    """Which weights a number was measured with."""

    path: str
    """The file."""

    sha256: str
    """Hash of the file."""

    bytes: int
    """Size of the file."""

    pinned: bool
    """Whether it is the one the lock names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricInterval:
    """How sure an AP is, by a bootstrap over its images; all in AP points."""

    low: float
    """Lower end of the 95 % interval, at least 0."""

    high: float
    """Upper end of the 95 % interval, at most 100."""

    standard_error: float
    """Standard deviation of the AP of resampled data sets, larger where few images carry it."""

    detectable: float
    """The smallest difference of two models, measured on so many images each and not on the same
    ones, that is found with a probability of 80 % at a level of 5 %. On the same images
    ``harness compare`` finds smaller ones.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryScore:
    """AP of one category in one task, or its PQ, 0-100; None with the reason when it has none.

    Keyed by COCO category id: names repeat in real files, and a name-keyed table loses values.
    """

    task: Task
    """What was measured: ``bbox``, ``segm``, ``keypoints`` or ``panoptic_seg``."""

    category_id: int
    """Id of the category."""

    name: str
    """Name of the category."""

    ap: float | None
    """AP, of a map of segments PQ, 0-100; None when it could not be computed."""

    reason: str = ""
    """Why there is no AP; else empty."""

    interval: MetricInterval | None = None
    """How sure it is; None where there is no AP, its objects are in fewer than five images, or
    intervals were not computed.
    """


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RunRecord:
    """One execution and its stored facts."""

    schema_version: Literal[1] = SCHEMA_VERSION
    """Version of the file format."""

    kind: Literal["eval", "bench", "score", "train"]
    """Which workflow it was."""

    run_id: str
    """Name of the run."""

    created_utc: str
    """Start of the run."""

    harness_version: str
    """Version of harness that wrote it."""

    command: tuple[str, ...]
    """Command line."""

    request: dict[str, Any]
    """What was requested."""

    resolved: dict[str, Any]
    """The same with every default resolved."""

    engine: EngineInfo | None
    """The engine; None where nothing was inferred."""

    checkpoint: CheckpointFacts | None
    """The weights; None where there are none."""

    dataset: DatasetFacts
    """The data set; None where there is none."""

    environment: Environment
    """The machine."""

    metrics: dict[str, float | None]
    """By name (``bbox/AP`` 0-100, ``fps``, ``latency_p90_s`` …); None where the number could not be
    computed.
    """

    intervals: dict[str, MetricInterval] = field(default_factory=dict)
    """How sure every AP is, by the name of its metric; empty in records of older versions."""

    per_category: tuple[CategoryScore, ...]
    """AP of each category, and PQ."""

    stage_times_s: dict[str, float]
    """Wall time of each stage."""

    protocol_deviations: tuple[str, ...]
    """What differs from the published protocol, one sentence each."""

    notes: tuple[str, ...] = ()
    """What the engine did otherwise than asked, a sentence each: another path on the GPU, say."""

    checks: tuple[Check, ...]
    """Comparisons with references."""

    verdict: Verdict
    """Result of all checks."""

    artefacts: dict[str, str]
    """Files of the run, relative to its folder."""

    sha256: dict[str, str] = field(default_factory=dict)
    """Of its predictions and shards, by path relative to its folder; empty in records of older
    versions.
    """

    def __repr__(self) -> str:
        """Kind, run id and verdict: all facts would be a screen of text."""
        return f"<RunRecord {self.kind} {self.run_id}: {self.verdict.line}>"
