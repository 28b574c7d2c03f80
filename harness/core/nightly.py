"""What is measured every night, and what a night found."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any, Literal

from harness.core.checks import Check
from harness.core.engine import EngineName, Precision
from harness.core.requests.inference import EMBEDDED_MODEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One ``[[block]]`` of a matrix: every combination of its lists is a cell."""

    models: tuple[str, ...] = (EMBEDDED_MODEL,)
    """Names of model entries."""

    engines: tuple[EngineName, ...] = ("native",)
    """Names of engines."""

    precisions: tuple[Precision, ...] = ("fp32",)
    """Arithmetics."""

    devices: tuple[str, ...] = ("auto",)
    """Devices."""

    dataset: str | None = None
    """Name of a data set; None for that of each model's references."""

    batch_size: int = 1
    """Images a batch."""

    limit: int | None = None
    """Number of images; None for all."""

    bench: bool = True
    """Whether speed is measured as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """``slurm/nightly.toml``."""

    block: tuple[Block, ...] = (Block(),)
    """All blocks of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One combination: evaluated, and timed if ``bench``."""

    model: str
    """Name of the model entry."""

    engine: EngineName
    """Name of the engine."""

    precision: Precision
    """Arithmetic of the network."""

    device: str
    """Device as requested."""

    dataset: str | None
    """Name of a data set; None for that of the model's references."""

    batch_size: int
    """Images a batch."""

    limit: int | None
    """Number of images; None for all."""

    bench: bool
    """Whether speed is measured as well."""

    @property
    def name(self) -> str:
        """A short name for tables, which is also the name of a folder in that of the night."""
        parts = [self.model, self.engine, self.precision, self.device]
        parts += [self.dataset] if self.dataset is not None else []
        parts += [f"b{self.batch_size}"] if self.batch_size != 1 else []
        parts += [f"first{self.limit}"] if self.limit is not None else []
        return _folder_name("-".join(part.replace(":", "") for part in parts))


#: Names of models and data sets come from files that others may have written.
NOT_IN_FOLDER_NAMES = re.compile(r"[^\w.+@=-]|^\.+")
LONGEST_NAME = 120


def _folder_name(text: str) -> str:
    """One folder's name without separators or control characters; others keep apart by a hash."""
    name = NOT_IN_FOLDER_NAMES.sub("_", text)
    if name == text and len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{name[:LONGEST_NAME]}-{digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """An accepted number of an earlier night, and everything it is valid for."""

    model: str
    """Name of the model entry."""

    dataset_digest: str
    """sha256 of the annotation file."""

    evaluated_images: int
    """Number of images."""

    engine: str
    """Name of the engine."""

    precision: str
    """Arithmetic of the network."""

    batch_size: int
    """Images a batch."""

    device_class: str
    """Device of a speed; None for accuracy."""

    metric: str
    """Name of the metric, as in a record."""

    value: float
    """The number, in the metric's unit."""

    run_id: str
    """Run it was measured in."""

    accepted_utc: str
    """Time of acceptance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baselines:
    """``results/reference.json``."""

    schema_version: Literal[1] = 1
    """Version of the file format."""

    baselines: tuple[Baseline, ...] = ()
    """All accepted numbers."""


CellStatus = Literal["pass", "regression", "failed", "no-reference"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResult:
    """What one cell left."""

    cell: Cell
    """What was measured."""

    status: CellStatus
    """``pass``, ``regression``, ``failed`` or ``no-reference``."""

    error: str
    """Error of a failed cell; else empty."""

    device_class: str
    """Device it was measured on; empty for a cell that failed early."""

    dataset_digest: str
    """sha256 of the annotation file; empty for a cell that failed early."""

    metrics: dict[str, float]
    """Numbers of evaluation and timing."""

    checks: tuple[Check, ...]
    """Comparisons with references and baselines."""

    runs: tuple[str, ...]
    """Folders of the runs."""

    seconds: float
    """Duration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """One execution of a matrix."""

    schema_version: Literal[1] = 1
    """Version of the file format."""

    night_id: str
    """Name of the folder."""

    created_utc: str
    """Start of the night."""

    harness_version: str
    """Version of harness that wrote it."""

    environment: dict[str, Any]
    """The machine that ran it."""

    cells: tuple[CellResult, ...]
    """Results in the order of the matrix."""

    @property
    def status(self) -> Literal["pass", "regression", "failed"]:
        """The worst of its cells; a regression is worse than a failure."""
        found = {cell.status for cell in self.cells}
        if "regression" in found:
            return "regression"
        return "failed" if "failed" in found else "pass"
