"""A network traced by ``torch.export``: for images of any size, with any number of detections."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from harness.core.architecture import Architecture
from harness.engines.native import load_network
from harness.engines.torchvision import load_torchvision
from harness.export.network import stage_names, traceable
from harness.export.torchvision_network import TraceableTorchvision
from harness.nn.normed import NormedConv
from harness.nn.rcnn import RCNN

#: (height, width) of the image that is traced. No side is a multiple of 32 and the two differ, so
#: that nothing can be mistaken for a constant.
TRACED_SIZE = (241, 333)

#: Regions of that image, where the network has to be given them.
TRACED_REGIONS = 37


def trace_checkpoint(
    architecture: Architecture, weights: Path
) -> tuple[ExportedProgram, tuple[str, ...]]:
    """The program of a checkpoint, and the names of its intermediate values.

    Raises:
        IntegrityError: The checkpoint does not fit the architecture.
    """
    if architecture.torchvision is not None:
        return trace_torchvision(*load_torchvision(architecture, weights)), ()
    return trace(load_network(architecture, weights)), stage_names(architecture)


def trace(network: RCNN) -> ExportedProgram:
    """The program of ``network``, in fp32 on the CPU; its BatchNorms are folded, in place."""
    for module in network.modules():
        if isinstance(module, NormedConv):
            module.fold()
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(256, (*TRACED_SIZE, 3), generator=generator, dtype=torch.uint8)
    given = (_regions(generator),) if network.architecture.given_proposals else ()
    return _traced(traceable(network), image, *given)


def _regions(generator: torch.Generator) -> Tensor:
    """Return (r, 4) boxes inside of the image that is traced, of any size."""
    height, width = TRACED_SIZE
    corners = torch.rand((TRACED_REGIONS, 2, 2), generator=generator).sort(dim=1).values
    return (corners * torch.tensor([width, height])).reshape(-1, 4)


def trace_torchvision(network: nn.Module, labels: Sequence[int]) -> ExportedProgram:
    """The program of a network of torchvision, in fp32 on the CPU.

    Args:
        network: In evaluation mode, with its weights.
        labels: The label of each class, by class index.
    """
    generator = torch.Generator().manual_seed(0)
    image = torch.rand((*TRACED_SIZE, 3), generator=generator)
    return _traced(TraceableTorchvision(network, labels), image)


def _traced(module: nn.Module, image: Tensor, *regions: Tensor) -> ExportedProgram:
    with torch.no_grad(), quiet():
        return torch.export.export(
            module.eval(),
            (image, *regions),
            dynamic_shapes=(
                {0: Dim.DYNAMIC, 1: Dim.DYNAMIC},
                *({0: Dim.DYNAMIC} for _ in regions),
            ),
            strict=False,
            # Sizes that must agree (the levels of the pyramid) are asserted when the program runs
            # instead of being proven now, which the symbolic arithmetic of rounding up cannot do.
            prefer_deferred_runtime_asserts_over_guards=True,
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Hide what torch and torchvision warn and log for each other, of functions renamed."""
    logged = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", category=FutureWarning, module=r"(torch|copyreg|torchvision)"
        )
        try:
            yield
        finally:
            logging.disable(logged)
