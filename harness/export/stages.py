"""Intermediate values of an exported file, for the stage-by-stage check."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from harness.engines.exported import PROPOSALS, SEMANTICS, ExportedNetwork, results_of
from harness.engines.native import PreparedImage
from harness.engines.stages import Stages, as_arrays, named_dense, named_stages, semantic_stage
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
    given = (image.pixels,) if image.proposals is None else (image.pixels, image.proposals)
    found = {name: torch.from_numpy(value) for name, value in network.values(*given).items()}
    resized = torch.from_numpy(np.ascontiguousarray(image.pixels)).permute(2, 0, 1)
    levels = [name.removeprefix("class_logits_") for name in found if name.startswith("class_log")]
    if levels:
        parts = [
            [found[f"{kind}{one}"] for one in levels]
            for kind in ("", "class_logits_", "box_deltas_")
        ]
        return as_arrays(named_dense(resized, *parts)), torch.zeros((0, 4))
    maps = [name for name in found if re.fullmatch(r"map|p\d+", name)]
    levels = [one for one in maps if f"rpn_logits_{one}" in found]
    ends = [name.removeprefix("box_logits") for name in found if name.startswith("box_logits")]
    proposals = _proposals(found, image)
    stages = named_stages(
        resized,
        {one: found[one] for one in maps},
        logits=[found[f"rpn_logits_{one}"] for one in levels],
        deltas=[found[f"rpn_deltas_{one}"] for one in levels],
        proposals=proposals,
        answers=[(found[f"box_logits{one}"], found[f"box_deltas{one}"]) for one in ends],
    )
    if SEMANTICS in found:
        stages |= semantic_stage(found[SEMANTICS])
    return stages, proposals


def _proposals(found: Mapping[str, Tensor], image: PreparedImage) -> Tensor:
    """The regions (n, 4) that the heads saw: the file's own, what it was given, or its results."""
    if PROPOSALS in found:
        return found[PROPOSALS]
    return found["boxes"] if image.proposals is None else torch.from_numpy(image.proposals)
