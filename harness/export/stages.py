"""Intermediate values of an exported file, for the stage-by-stage check."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from harness.engines.native import PreparedImage
from harness.engines.onnx import SessionNetwork, open_session
from harness.engines.stages import Stages, named_stages
from harness.export.network import LEVELS, STAGES


def open_stages(path: Path, *, threads: int) -> SessionNetwork:
    """A session of an exported file on the CPU that also answers its stages."""
    import onnx

    model = onnx.load(path)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in STAGES)
    place = torch.device("cpu")
    return SessionNetwork(open_session(model.SerializeToString(), place, threads=threads))


def exported_stages(network: SessionNetwork, image: PreparedImage) -> tuple[Stages, Tensor]:
    """Stages as ``harness.engines.stages`` names them, and the proposals (n, 4)."""
    found = {name: torch.from_numpy(value) for name, value in network.values(image.pixels).items()}
    stages = named_stages(
        torch.from_numpy(np.ascontiguousarray(image.pixels)).permute(2, 0, 1),
        [found[level] for level in LEVELS],
        [found[f"rpn_logits_{level}"] for level in LEVELS],
        [found[f"rpn_deltas_{level}"] for level in LEVELS],
        found["proposals"],
        found["box_logits"],
        found["box_deltas"],
    )
    return stages, found["proposals"]
