"""The engine that runs a file of torch.export (``.pt2``) with torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from harness.core.architecture import Architecture
from harness.core.engine import Engine, Precision
from harness.engines.devices import apply_precision, find_device, notes_on
from harness.engines.exported import (
    ExportedNetwork,
    engine_of,
    info_of_file,
    require_fp32,
    results_of,
)
from harness.engines.program import Program
from harness.zoo.program_archive import open_archive


def open_pt2(
    *,
    architecture: Architecture,
    weights: Path,
    device: str = "auto",
    precision: Precision = "fp32",
    threads: int | None = None,
) -> Engine:
    """Return the engine of an exported file, ready for inference.

    Args:
        architecture: What the file has to contain.
        weights: The exported file.
        device: As in `find_device`.
        precision: fp32; nothing else is exported.
        threads: CPU threads; None for ``devices.usable_threads``.

    Raises:
        UsageError: Another precision.
        IntegrityError: The file is damaged, of another network, or has contents that are not run.
    """
    require_pt2_settings(device, precision)
    place = find_device(device)
    apply_precision(precision, place)
    version = torch.__version__
    info = info_of_file(
        weights, architecture, name="pt2", version=version, place=place, threads=threads
    )
    names = results_of(architecture)
    with open_archive(weights) as archive:
        return engine_of(ProgramNetwork(Program(archive, place), names), info, notes_on(device))


def require_pt2_settings(device: str, precision: Precision) -> None:
    """Check that a file is computed in this precision on this device.

    Raises:
        PrerequisiteError: There is no such device.
        UsageError: The file does not compute in this precision.
    """
    find_device(device)
    require_fp32(precision)


class ProgramNetwork(ExportedNetwork):
    """A program in the place of the network."""

    def __init__(self, program: Program, names: tuple[str, ...]) -> None:
        self.program, self.names = program, names

    def values(self, *given: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """Return the named outputs of the program, for what goes into it in order."""
        tensors = [torch.from_numpy(np.ascontiguousarray(one)) for one in given]
        found = self.program(*tensors, count=len(self.names))
        return {name: one.cpu().numpy() for name, one in zip(self.names, found, strict=True)}
