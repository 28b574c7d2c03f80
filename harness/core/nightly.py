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
    """One ``[[block]]`` of a matrix: every combination of its lists is a cell.

    dataset: None for the one of each model's references. bench: also time it.
    """

    models: tuple[str, ...] = (EMBEDDED_MODEL,)
    engines: tuple[EngineName, ...] = ("native",)
    precisions: tuple[Precision, ...] = ("fp32",)
    devices: tuple[str, ...] = ("auto",)
    dataset: str | None = None
    batch_size: int = 1
    limit: int | None = None
    bench: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """``slurm/nightly.toml``."""

    block: tuple[Block, ...] = (Block(),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One combination: evaluated, and timed if ``bench``."""

    model: str
    engine: EngineName
    precision: Precision
    device: str
    dataset: str | None
    batch_size: int
    limit: int | None
    bench: bool

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
    """An accepted number of an earlier night, and everything it is valid for.

    dataset_digest: sha256 of the annotation file. metric: as in a record. run_id: where it was
    measured. accepted_utc: when.
    """

    model: str
    dataset_digest: str
    evaluated_images: int
    engine: str
    precision: str
    batch_size: int
    device_class: str
    metric: str
    value: float
    run_id: str
    accepted_utc: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Baselines:
    """``results/reference.json``."""

    schema_version: Literal[1] = 1
    baselines: tuple[Baseline, ...] = ()


CellStatus = Literal["pass", "regression", "failed", "no-reference"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResult:
    """What one cell left. status: ``pass``, ``regression``, ``failed`` or ``no-reference``.

    error: of a cell that failed. metrics: of evaluation and timing. runs: their folders.
    """

    cell: Cell
    status: CellStatus
    error: str
    device_class: str
    dataset_digest: str
    metrics: dict[str, float]
    checks: tuple[Check, ...]
    runs: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """One execution of a matrix. environment: of the machine that ran it."""

    schema_version: Literal[1] = 1
    night_id: str
    created_utc: str
    harness_version: str
    environment: dict[str, Any]
    cells: tuple[CellResult, ...]

    @property
    def status(self) -> Literal["pass", "regression", "failed"]:
        """The worst of its cells; a regression is worse than a failure."""
        found = {cell.status for cell in self.cells}
        if "regression" in found:
            return "regression"
        return "failed" if "failed" in found else "pass"
