"""Intermediate values of an exported file, for the stage-by-stage check."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from harness.engines.native import PreparedImage
from harness.engines.onnx import SessionNetwork, open_session
from harness.engines.stages import Stages, named_stages
from harness.export.network import stage_names
from harness.zoo.exported import read_facts


def open_stages(path: Path, *, threads: int) -> SessionNetwork:
    """A session of an exported file on the CPU that also answers its stages."""
    import onnx

    model = onnx.load(path)
    names = stage_names(read_facts(path).architecture)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    place = torch.device("cpu")
    return SessionNetwork(open_session(model.SerializeToString(), place, threads=threads))


def exported_stages(network: SessionNetwork, image: PreparedImage) -> tuple[Stages, Tensor]:
    """Stages as ``harness.engines.stages`` names them, and the proposals (n, 4)."""
    found = {name: torch.from_numpy(value) for name, value in network.values(image.pixels).items()}
    maps = [name.removeprefix("rpn_logits_") for name in found if name.startswith("rpn_logits_")]
    ends = [name.removeprefix("box_logits") for name in found if name.startswith("box_logits")]
    stages = named_stages(
        torch.from_numpy(np.ascontiguousarray(image.pixels)).permute(2, 0, 1),
        {one: found[one] for one in maps},
        [found[f"rpn_logits_{one}"] for one in maps],
        [found[f"rpn_deltas_{one}"] for one in maps],
        found["proposals"],
        [(found[f"box_logits{one}"], found[f"box_deltas{one}"]) for one in ends],
    )
    return stages, found["proposals"]
