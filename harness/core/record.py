"""What a run leaves behind: one typed record, validated and schema'd by ``harness.files.json``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from harness.core.checks import Check, Verdict
from harness.core.engine import EngineInfo

SCHEMA_VERSION: Literal[1] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where a run happened: enough to tell two machines apart."""

    python: str
    platform: str
    hostname: str
    cpu: str
    cpu_count: int
    memory_bytes: int
    packages: dict[str, str]
    cuda: str | None
    driver: str | None
    gpus: tuple[str, ...]
    git_commit: str | None
    git_dirty: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """Which data a number was measured on. digest: sha256 of the annotation file."""

    name: str
    annotations_path: str
    images_dir: str
    digest: str
    image_count: int
    evaluated_images: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFacts:
    """Which weights a number was measured with. pinned: they are the ones the lock names."""

    path: str
    sha256: str
    bytes: int
    pinned: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryScore:
    """AP of one category in one task, 0-100; None with the reason when it has none.

    Keyed by COCO category id: names repeat in real files, and a name-keyed table loses values.
    """

    task: Literal["bbox", "segm"]
    category_id: int
    name: str
    ap: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One execution and its stored facts.

    metrics: by name (``bbox/AP`` 0-100, ``fps``, ``latency_p90_s`` …); None where the number
    could not be computed. request and resolved: as asked, and with every default filled in.
    stage_times_s: wall time by stage. artefacts: files of the run, relative to its folder. sha256:
    of its predictions and shards, by path relative to its folder; empty in records of older
    versions.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    kind: Literal["eval", "bench", "score", "train"]
    run_id: str
    created_utc: str
    harness_version: str
    command: tuple[str, ...]
    request: dict[str, Any]
    resolved: dict[str, Any]
    engine: EngineInfo | None
    checkpoint: CheckpointFacts | None
    dataset: DatasetFacts
    environment: Environment
    metrics: dict[str, float | None]
    per_category: tuple[CategoryScore, ...]
    stage_times_s: dict[str, float]
    protocol_deviations: tuple[str, ...]
    checks: tuple[Check, ...]
    verdict: Verdict
    artefacts: dict[str, str]
    sha256: dict[str, str] = field(default_factory=dict)
