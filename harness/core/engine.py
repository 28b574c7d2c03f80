"""The seam between networks and everything else: what an engine is given and what it returns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args, runtime_checkable

from harness.core.architecture import Architecture
from harness.core.errors import UsageError
from harness.core.printable import shown

if TYPE_CHECKING:
    from harness.core.detections import Detections, Image

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "bf16", "fp16")
MemoryFormat = Literal["channels_last", "contiguous"]
MEMORY_FORMATS: tuple[MemoryFormat, ...] = ("channels_last", "contiguous")
EngineName = Literal["native", "detectron2", "torchvision", "onnx", "pt2", "fake"]
ENGINE_NAMES: tuple[EngineName, ...] = get_args(EngineName)

#: Of one network: more than processors have cores. With 5,000 torch 2.12.1 did not end on two,
#: with 100,000 it ended by a segmentation fault.
MOST_THREADS = 512

#: Of one command on one machine: more than machines have cores or devices. Each opens a network of
#: its own.
MOST_PROCESSES = 512

#: Engines that run a file of ``harness export``; each is called as its format, which is the file's
#: ending.
ExportFormat = Literal["onnx", "pt2"]
EXPORT_FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)

#: What a device is called, beside ``auto``; with its number, or the first one.
_DEVICE = re.compile(r"cpu|cuda(:\d{1,4})?", re.ASCII)

#: Phases an engine reports while it prepares and infers; the pipeline adds ``load`` before them.
PHASES = ("load", "resize", "transfer", "forward", "paste", "encode")


def require_device_word(name: str) -> None:
    """Check how a device is called; whether it is there, torch says.

    Raises:
        UsageError: It is another word than ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    """
    if name != "auto" and _DEVICE.fullmatch(name) is None:
        raise UsageError(f"unknown device {shown(name)}; choose auto, cpu, cuda or cuda:N")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """Facts of an engine for the record; speeds are compared only between equal ones."""

    name: EngineName
    """Name of the engine."""

    version: str
    """Version of the package that computes."""

    device: str
    """Device as torch names it, such as ``cuda:0``."""

    device_class: str
    """The device's product name (``NVIDIA H200``, ``AMD EPYC …``)."""

    precision: Precision
    """Arithmetic of the network."""

    threads: int
    """CPU threads the engine computes with."""

    architecture: Architecture
    """The network and its test recipe."""

    memory_format: MemoryFormat | None = None
    """Memory layout of feature maps; None where there is no choice."""

    compiled: bool = False
    """Whether torch.compile is used."""

    exact: bool = False
    """Whether the arithmetic is that of the reference, bit for bit."""


class Stopwatch(Protocol):
    """Where an engine records its phases; a no-op one is passed outside timed runs."""

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

    def synchronize(self) -> None:
        """Wait until the device has finished all work given to it."""
        ...

    def peak_memory_bytes(self) -> int | None:
        """Peak device memory since the engine was opened; None where it cannot be read."""
        ...

    def close(self) -> None: ...


def notes_of(engine: Engine) -> tuple[str, ...]:
    """Return the sentences about what an engine does otherwise than asked; most have none."""
    return tuple(getattr(engine, "notes", ()))


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
