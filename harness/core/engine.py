"""The seam between networks and everything else: what an engine is asked and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args, runtime_checkable

from harness.core.architecture import Architecture
from harness.core.detections import Detections, Image

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "bf16", "fp16")
MemoryFormat = Literal["channels_last", "contiguous"]
MEMORY_FORMATS: tuple[MemoryFormat, ...] = ("channels_last", "contiguous")
EngineName = Literal["native", "detectron2", "torchvision", "onnx", "fake"]
ENGINE_NAMES: tuple[EngineName, ...] = get_args(EngineName)

#: Phases an engine reports while it prepares and infers; the pipeline adds ``load`` before them.
PHASES = ("load", "resize", "transfer", "forward", "paste", "encode")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """Who answers: for the record, and for the rule that speeds compare only like with like.

    version: of the package that computes. device_class: the device's product name (``NVIDIA
    H200``, ``AMD EPYC …``). threads: CPU threads the engine computes with. memory_format: how its
    feature maps are stored in memory, None where it has none. compiled: by torch.compile.
    exact: in the arithmetic of the reference, bit for bit.
    """

    name: EngineName
    version: str
    device: str
    device_class: str
    precision: Precision
    threads: int
    architecture: Architecture
    memory_format: MemoryFormat | None = None
    compiled: bool = False
    exact: bool = False


class Stopwatch(Protocol):
    """Where an engine books its phases; a no-op one is passed outside timed runs."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Book the time spent inside the block under ``name`` (one of PHASES)."""
        ...


class Engine(Protocol):
    """Turns images into detections.

    ``prepare`` is pure CPU work on one image (resize); it is called from loader threads and must
    not touch the device. ``infer`` takes what ``prepare`` returned, in order, and answers in the
    same order. A crash is raised, never turned into empty detections.
    """

    info: EngineInfo

    def prepare(self, image: Image, stopwatch: Stopwatch) -> Any: ...

    def infer(self, prepared: Sequence[Any], stopwatch: Stopwatch) -> list[Detections]: ...

    def settle(self) -> None:
        """Wait until the device has finished all work given to it."""
        ...

    def peak_memory_bytes(self) -> int | None:
        """Peak device memory since the engine was opened; None where it cannot be read."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class EngineAhead(Engine, Protocol):
    """An engine that can begin a batch while the one before it is being finished."""

    @property
    def runs_ahead(self) -> bool:
        """Whether ``begin`` returns before the batch is computed."""
        ...

    def begin(self, prepared: Sequence[Any]) -> Any:
        """Give the device a batch; what comes back is for ``finish``."""
        ...

    def finish(self, pending: Any) -> list[Detections]:
        """Wait for a batch that was begun; as ``infer``, and in any thread."""
        ...
