"""Intermediate values of an exported file, for the stage-by-stage check."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from harness.engines.exported import ExportedNetwork, results_of
from harness.engines.native import PreparedImage
from harness.engines.stages import Stages, as_arrays, named_dense, named_stages
from harness.export.network import stage_names
from harness.zoo.exported import kind_of, read_facts


def open_stages(path: Path, *, threads: int) -> ExportedNetwork:
    """What runs an exported file on the CPU and also returns its stages."""
    if kind_of(path) == "pt2":
        return _program_stages(path)
    import onnx

    from harness.engines.onnx import SessionNetwork, open_session

    model = onnx.load(path)
    names = stage_names(read_facts(path).architecture)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    place = torch.device("cpu")
    return SessionNetwork(open_session(model.SerializeToString(), place, threads=threads))


def _program_stages(path: Path) -> ExportedNetwork:
    from harness.engines.program import Program
    from harness.engines.pt2 import ProgramNetwork
    from harness.zoo.program_archive import open_archive

    architecture = read_facts(path).architecture
    names = (*results_of(architecture), *stage_names(architecture))
    with open_archive(path) as archive:
        return ProgramNetwork(Program(archive, torch.device("cpu")), names)


def exported_stages(network: ExportedNetwork, image: PreparedImage) -> tuple[Stages, Tensor]:
    """Stages as ``harness.engines.stages`` names them, and the proposals (n, 4)."""
    found = {name: torch.from_numpy(value) for name, value in network.values(image.pixels).items()}
    resized = torch.from_numpy(np.ascontiguousarray(image.pixels)).permute(2, 0, 1)
    levels = [name.removeprefix("class_logits_") for name in found if name.startswith("class_log")]
    if levels:
        parts = [
            [found[f"{kind}{one}"] for one in levels]
            for kind in ("", "class_logits_", "box_deltas_")
        ]
        return as_arrays(named_dense(resized, *parts)), torch.zeros((0, 4))
    maps = [name.removeprefix("rpn_logits_") for name in found if name.startswith("rpn_logits_")]
    ends = [name.removeprefix("box_logits") for name in found if name.startswith("box_logits")]
    stages = named_stages(
        resized,
        {one: found[one] for one in maps},
        [found[f"rpn_logits_{one}"] for one in maps],
        [found[f"rpn_deltas_{one}"] for one in maps],
        found["proposals"],
        [(found[f"box_logits{one}"], found[f"box_deltas{one}"]) for one in ends],
    )
    return stages, found["proposals"]
