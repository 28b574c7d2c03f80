"""A traced network as torch's own file (``.pt2``) that says what it is."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch.export import ExportedProgram

from harness.core.errors import RunFailedError
from harness.engines.program import is_known
from harness.export.program import quiet
from harness.files.atomic import replacing
from harness.files.environment import TORCHVISION_OF
from harness.files.failures import disk_errors
from harness.files.json import dumps
from harness.zoo.exported import ExportFacts, metadata_of
from harness.zoo.program_archive import FACTS, GRAPH, open_archive

#: Nodes that check what was assumed while tracing, such as at least two proposals. The operators
#: beside them compute right without: ONNX files have none either.
ASSUMPTIONS = (
    "aten._assert_scalar.default",
    "aten._assert_tensor_metadata.default",
    "aten.sym_constrain_range_for_size.default",
    "aten.sym_constrain_range.default",
)

#: Of a node: what the tracer notes for its developers, paths of this machine among them.
NOTES = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node", "custom")


def write_program(
    program: ExportedProgram, output: Path, *, facts: Callable[[int, str], ExportFacts]
) -> ExportFacts:
    """Write ``program`` to ``output``; return the metadata it has.

    Args:
        program: Program of a network; changed.
        output: The file.
        facts: Returns the metadata of a graph, from its number of bytes and its sha256.

    Raises:
        RunFailedError: The graph calls an operator that ``--engine pt2`` does not.
    """
    _make_lean(program)
    buffer = io.BytesIO()
    with quiet():
        torch.export.save(program, buffer)
    with disk_errors(output), replacing(output) as path:
        path.write_bytes(buffer.getbuffer())
        with open_archive(path) as archive:
            _require_known(archive.text(GRAPH))
            stated = facts(*archive.digest())
        with zipfile.ZipFile(path, "a") as file:
            folder = file.namelist()[0].partition("/")[0]
            file.writestr(zipfile.ZipInfo(f"{folder}/{FACTS}"), dumps(metadata_of(stated)))
    return stated


def _make_lean(program: ExportedProgram) -> None:
    """Drop assumptions, notes and the image that was traced."""
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        for note in NOTES:
            node.meta.pop(note, None)
        if str(node.target) in ASSUMPTIONS:
            graph.erase_node(node)
    graph.eliminate_dead_code()
    program.graph_module.recompile()
    program.example_inputs = None


def _require_known(content: dict[str, dict[str, dict[str, list[dict[str, str]]]]]) -> None:
    nodes = content["graph_module"]["graph"]["nodes"]
    foreign = sorted({node["target"] for node in nodes if not is_known(node["target"])})
    if foreign:
        raise RunFailedError(
            f"the graph has operators that --engine pt2 does not call: {', '.join(foreign)}",
            hint="this torch exports differently: use one that harness is tested with "
            f"({', '.join(TORCHVISION_OF)})",
        )
