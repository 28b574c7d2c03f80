"""The engine around an exported file, chosen by the network that the file is of."""

from __future__ import annotations

from harness.core.engine import Engine, EngineInfo
from harness.engines.exported import ExportedEngine, ExportedNetwork


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
