"""A traced network as an ONNX file of standard operators that says what it is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.export import ExportedProgram

from harness.core.errors import PrerequisiteError, RunFailedError
from harness.engines.exported import IMAGE, PROPOSALS, SEMANTICS
from harness.export.program import quiet
from harness.files.atomic import replacing
from harness.files.environment import TORCHVISION_OF
from harness.files.extras import install_command
from harness.files.failures import disk_errors
from harness.zoo.exported import END_OF_OWN, ExportFacts, metadata_of

if TYPE_CHECKING:
    import onnx

#: Names of the first dimensions of what goes into a file and comes out of it, None where one is
#: fixed; of all other results the first is the number of detections.
DIMENSIONS: dict[str, tuple[str | None, ...]] = {
    IMAGE: ("height", "width"),
    PROPOSALS: ("regions",),
    SEMANTICS: (None, "rows", "columns"),
}
RESULT_DIMENSIONS = ("detections",)


def require_exporter() -> None:
    """PrerequisiteError, with how to get them, unless the packages that write ONNX are there."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise PrerequisiteError(
            f"an ONNX file is written by the packages onnx and onnxscript ({error})",
            hint=f"run: {install_command('onnx')}",
        ) from None


def write_onnx(
    program: ExportedProgram,
    results: Sequence[str],
    output: Path,
    *,
    inputs: Sequence[str] = (IMAGE,),
    stages: Sequence[str],
    opset: int,
    facts: Callable[[int, str], ExportFacts],
) -> ExportFacts:
    """Write ``program`` to ``output``, checked by ``onnx.checker``; the metadata it has.

    Args:
        results: Names of the program's results, which the stages follow.
        inputs: Names of its inputs.
        stages: Names of the program's intermediate values.
        facts: Returns the metadata of a graph, from its number of bytes and its sha256.

    Returns:
        The metadata of the file. The stages are no outputs of the file; their values keep their
        names (``harness.export.network.stage_names``), so that a checking session can request them.
    """
    import onnx

    model = _converted(program, inputs, results, stages, opset)
    _require_standard(model)
    graph = model.SerializeToString(deterministic=True)
    stated = facts(len(graph), hashlib.sha256(graph).hexdigest())
    entries = [
        onnx.StringStringEntryProto(key=key, value=value)
        for key, value in metadata_of(stated).items()
    ]
    # Two messages after one another are one message with the fields of both.
    metadata = onnx.ModelProto(metadata_props=entries).SerializeToString(deterministic=True)
    with disk_errors(output), replacing(output) as path:
        path.write_bytes(graph + metadata + END_OF_OWN)
        onnx.checker.check_model(path, full_check=True)
    return stated


def _converted(
    program: ExportedProgram,
    inputs: Sequence[str],
    results: Sequence[str],
    stages: Sequence[str],
    opset: int,
) -> onnx.ModelProto:
    with quiet():
        converted = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=opset,
            input_names=list(inputs),
            output_names=[*results, *stages],
            verbose=False,
        )
    assert converted is not None  # with dynamo=True it returns a program
    model = converted.model_proto
    del model.graph.output[len(results) :]
    _clean(model)
    for value in (*model.graph.input, *model.graph.output):
        names = DIMENSIONS.get(value.name, RESULT_DIMENSIONS)
        for dimension, name in zip(value.type.tensor_type.shape.dim, names, strict=False):
            if name is not None:
                dimension.dim_param = name
    model.producer_name = "harness"
    return model


def _clean(model: onnx.ModelProto) -> None:
    """Drop what the exporter notes for its own developers: stack traces, guesses of sizes."""
    del model.graph.value_info[:]
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
    parts = (
        *model.graph.node,
        *model.graph.input,
        *model.graph.output,
        *model.graph.initializer,
    )
    for part in parts:
        del part.metadata_props[:]
        part.doc_string = ""


def _require_standard(model: onnx.ModelProto) -> None:
    """Raise unless every operator is of ONNX's own domain: others run almost nowhere."""
    foreign = sorted({f"{node.domain}::{node.op_type}" for node in model.graph.node if node.domain})
    if foreign or model.functions:
        raise RunFailedError(
            f"the exported graph has operators outside ONNX's standard: {', '.join(foreign)}",
            hint="this torch exports differently: use one that harness is tested with "
            f"({', '.join(TORCHVISION_OF)})",
        )
