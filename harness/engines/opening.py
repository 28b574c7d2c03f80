"""Opens the engine a request names. The only place that knows which engines there are."""

from __future__ import annotations

from pathlib import Path

from harness.core.architecture import Architecture
from harness.core.dataset import Dataset
from harness.core.engine import ENGINE_NAMES, Engine, EngineName, Precision
from harness.core.errors import UsageError


def open_engine(
    name: EngineName,
    *,
    architecture: Architecture,
    weights: Path | None,
    dataset: Dataset,
    device: str = "auto",
    precision: Precision = "fp32",
    threads: int | None = None,
) -> Engine:
    """The engine called ``name``, with its weights loaded and its device ready.

    weights: a checkpoint file; only the fake engine, which answers from the ground truth of
    ``dataset``, does without. device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``. threads: CPU
    threads to compute with, None for one a core.
    """
    match name:
        case "native":
            from harness.engines.native import open_native

            return open_native(
                architecture=architecture,
                weights=_required(name, weights),
                device=device,
                precision=precision,
                threads=threads,
            )
        case "detectron2":
            from harness.engines.detectron2 import open_detectron2

            return open_detectron2(
                architecture=architecture,
                weights=_required(name, weights),
                device=device,
                precision=precision,
                threads=threads,
            )
        case "fake":
            from harness.engines.fake import open_fake

            return open_fake(dataset, architecture)
        case _:
            raise UsageError(f"unknown engine {name!r}; choose one of {', '.join(ENGINE_NAMES)}")


def worker_devices(name: EngineName, device: str, workers: int) -> list[str]:
    """The device of each of several engines at work at once: under ``auto`` each GPU has one.

    A device that is named is shared by all; so is the CPU. Raises UsageError for more engines than
    GPUs.
    """
    if device != "auto" or name == "fake":
        return [device] * workers
    from harness.engines.devices import gpu_count

    gpus = gpu_count()
    if gpus == 0:
        return ["cpu"] * workers
    if workers > gpus:
        raise UsageError(
            f"{workers} workers need a GPU each, and {gpus} can be seen here",
            hint=f"choose at most {gpus}, or share one: --device cuda:0",
        )
    return [f"cuda:{index}" for index in range(workers)]


def _required(name: str, weights: Path | None) -> Path:
    if weights is None:
        raise UsageError(
            f"the {name} engine needs weights", hint="give a checkpoint file with --weights"
        )
    return weights
