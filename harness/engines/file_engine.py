"""The engine around an exported file, chosen by the network that the file is of."""

from __future__ import annotations

from pathlib import Path

import torch

from harness.core.architecture import Architecture
from harness.core.engine import Engine, EngineInfo, EngineName
from harness.engines.devices import apply_threads, device_class, keep_freed_memory
from harness.engines.exported import ExportedEngine, ExportedNetwork
from harness.zoo.exported import read_facts, require_match


def info_of_file(
    weights: Path,
    architecture: Architecture,
    *,
    name: EngineName,
    version: str,
    place: torch.device,
    threads: int | None,
) -> EngineInfo:
    """Return what an engine of a file says of itself, with threads and memory set for it.

    Args:
        weights: The exported file.
        architecture: What it has to contain.
        name: Of the engine.
        version: Of what runs the file.
        place: Where it is run.
        threads: CPU threads; None for one a core.

    Raises:
        IntegrityError: The file is damaged, or of another network.
    """
    require_match(read_facts(weights), architecture, path=weights)
    count = apply_threads(threads)
    keep_freed_memory(place)
    return EngineInfo(
        name=name,
        version=version,
        device=str(place),
        device_class=device_class(place),
        precision="fp32",
        threads=count,
        architecture=architecture,
        memory_format="contiguous",
    )


def engine_of(network: ExportedNetwork, info: EngineInfo) -> Engine:
    """Return the engine around a file: that of the network it was exported from.

    Args:
        network: What runs the file.
        info: With the architecture of the file.
    """
    if info.architecture.torchvision is None:
        return ExportedEngine(network, info)
    from harness.engines.exported_torchvision import exported_torchvision

    return exported_torchvision(network, info)
