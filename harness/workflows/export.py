"""``harness export``: a checkpoint as a file, proven against the engine it comes from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness import __version__
from harness.core.architecture import Architecture
from harness.core.dataset import Category
from harness.core.engine import EXPORT_FORMATS, ExportFormat
from harness.core.errors import PrerequisiteError, UsageError
from harness.core.model import ModelEntry
from harness.core.progress import Progress
from harness.core.record import CheckpointFacts
from harness.core.requests.zoo import ExportRequest
from harness.core.settings import check_settings
from harness.data.catalog import find_dataset
from harness.data.categories import categories_for, stuff_for
from harness.engines.opening import own_engine, require_network
from harness.engines.parity.comparison import ParityReport
from harness.workflows.parity import check_exported, images_in, require_exporting
from harness.zoo.architectures import architecture_of
from harness.zoo.checkpoints import find_checkpoint, unchanging
from harness.zoo.exported import ExportFacts, default_file, kind_of
from harness.zoo.lock import find_model, read_lock
from harness.zoo.model_file import stated_sizes, with_recipe

#: The images of the check where the model's own are not on disk; they come with the package.
EMBEDDED_PICTURES = "synthetic_val"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Export:
    """What was written, and how it compares."""

    path: Path
    """The file."""

    bytes: int
    """Size of the file."""

    format: ExportFormat
    """Of the file; also the engine that runs it."""

    opset: int | None
    """Version of the ONNX operator set; None of another format."""

    seconds: float
    """Time to trace the network and write the file."""

    facts: ExportFacts
    """What the file states about itself."""

    parity: ParityReport
    """The native engine compared with the file, stage by stage."""

    def __repr__(self) -> str:
        """The file, its size, and where it first differs from the network."""
        first = self.parity.first_failing
        proof = "as the network in every stage" if first is None else f"differs from {first} on"
        return f"<Export of {self.facts.model}: {self.path}, {self.bytes / 1e6:.1f} MB, {proof}>"


def export(request: ExportRequest, *, progress: Progress) -> Export:
    """Write the model's network as a file, then run it and compare every stage.

    The file stays when the comparison fails, for a closer look.

    Args:
        request: The model, the file to write, and the images to compare on.
        progress: Receives progress and notices.

    Raises:
        PrerequisiteError: A package that exports or runs the format is not installed, or the
            checkpoint is not there.
        UsageError: An invalid argument, or a network that cannot be exported.
        IntegrityError: The checkpoint is not the one of the model.
    """
    from harness.export.network import require_exportable

    kind = _format(request)
    require_exporting(kind)
    _check_values(request, kind)
    lock = read_lock()
    entry = find_model(lock, request.network.model)
    architecture = architecture_of(entry.architecture)
    _require_known(entry, architecture, kind)
    require_exportable(architecture, kind)
    _require_scores(entry, architecture, request)
    stuff = stuff_for(
        architecture.semantic_classes, panoptic=request.panoptic, weights=request.network.weights
    )
    output = request.output or default_file(entry.name, request.network.root, kind)
    paths = _pictures(entry, request)[: request.limit]
    checkpoint = find_checkpoint(lock, entry, request.network.weights, request.network.root)
    begun = time.perf_counter()
    facts = _write_file(
        entry, checkpoint, output, stuff=stuff, request=request, progress=progress, kind=kind
    )
    seconds = time.perf_counter() - begun
    parity = check_exported(
        output, checkpoint=checkpoint, paths=paths, threads=request.threads, progress=progress
    )
    return Export(
        path=output,
        bytes=output.stat().st_size,
        format=kind,
        opset=request.opset if kind == "onnx" else None,
        seconds=seconds,
        facts=facts,
        parity=parity,
    )


def _format(request: ExportRequest) -> ExportFormat:
    """Return the format that was asked for, or that the ending of the file has."""
    if request.format is not None:
        return request.format
    return "onnx" if request.output is None else kind_of(request.output)


def _require_known(entry: ModelEntry, architecture: Architecture, kind: ExportFormat) -> None:
    """Check that the engine of a format could run the file.

    Raises:
        UsageError: It could not.
    """
    try:
        require_network(kind, architecture)
    except UsageError as error:
        raise UsageError(
            f"{entry.name} is not exported: {error.message}",
            hint=f"evaluate it with --engine {own_engine(architecture)}",
        ) from error


def _require_scores(entry: ModelEntry, architecture: Architecture, request: ExportRequest) -> None:
    """Check that what detections are chosen by has a meaning for the network.

    Raises:
        UsageError: It only proposes regions, and is asked for fewer detections.
    """
    asked = {
        "--score-threshold": request.score_threshold,
        "--max-detections": request.max_detections,
    }
    given = [name for name, value in asked.items() if value is not None]
    if architecture.detector == "rpn" and given:
        raise UsageError(
            f"{entry.name} only proposes regions, {architecture.rpn_post_nms} an image at most, "
            f"which {given[0]} does not change",
            hint=f"leave out {' and '.join(given)}",
        )


def _write_file(
    entry: ModelEntry,
    checkpoint: CheckpointFacts,
    output: Path,
    *,
    stuff: Sequence[Category],
    request: ExportRequest,
    progress: Progress,
    kind: ExportFormat,
) -> ExportFacts:
    from harness.engines.exported import inputs_of, results_of
    from harness.export.program import trace_checkpoint

    categories = categories_for(
        entry.dataset, annotations=request.annotations, weights=request.network.weights
    )
    names = tuple(category.name for category in categories)
    architecture = _architecture(entry, categories, stuff, request)
    progress.notice(f"tracing {entry.name}")
    weights = Path(checkpoint.path)
    with unchanging(weights):  # its hash is written into the file
        program, stages = trace_checkpoint(architecture, weights)

    def facts(length: int, sha256: str) -> ExportFacts:
        return _facts(
            entry, architecture, names, origin=checkpoint, graph_bytes=length, graph_sha256=sha256
        )

    if kind == "pt2":
        from harness.export.torch_file import write_program

        return write_program(program, output, facts=facts)
    from harness.export.onnx_file import write_onnx

    progress.notice(f"converting to ONNX, opset {request.opset}")
    return write_onnx(
        program,
        results_of(architecture),
        output,
        inputs=inputs_of(architecture),
        stages=stages,
        opset=request.opset,
        facts=facts,
    )


def _facts(
    entry: ModelEntry,
    architecture: Architecture,
    names: tuple[str, ...],
    *,
    origin: CheckpointFacts,
    graph_bytes: int,
    graph_sha256: str,
) -> ExportFacts:
    return ExportFacts(
        harness_version=__version__,
        model=entry.name,
        architecture=architecture,
        class_names=names,
        checkpoint_sha256=origin.sha256,
        checkpoint_pinned=origin.pinned,
        graph_bytes=graph_bytes,
        graph_sha256=graph_sha256,
    )


def _architecture(
    entry: ModelEntry,
    categories: Sequence[Category],
    stuff: Sequence[Category],
    request: ExportRequest,
) -> Architecture:
    """Return the model's architecture with the classes there are and the recipe of the request.

    Sizes that the request does not name are those of the training that left the weights.
    """
    published = architecture_of(entry.architecture)
    stated = stated_sizes(
        published, request.recipe, entry, engine=own_engine(published), network=request.network
    )
    return replace(
        with_recipe(published.fitted_to(categories, stuff), request.recipe, stated),
        score_threshold=(
            published.score_threshold
            if request.score_threshold is None
            else request.score_threshold
        ),
        max_detections=request.max_detections or published.max_detections,
    )


def _pictures(entry: ModelEntry, request: ExportRequest) -> list[Path]:
    """Return the images the file is tried on: the user's, the model's data set, or the embedded
    one.
    """
    if request.images is not None:
        return images_in(request.images)
    for name in (entry.dataset, EMBEDDED_PICTURES):
        try:
            dataset = find_dataset(
                dataset=name, annotations=None, images=None, root=request.network.root
            )
        except PrerequisiteError:
            continue
        paths = [dataset.images_dir / image.file_name for image in dataset.images]
        if present := [path for path in paths if path.is_file()]:
            return present
    return []


def _check_values(request: ExportRequest, kind: ExportFormat) -> None:
    if request.output is not None and request.output.suffix != f".{kind}":
        endings = " or ".join(f".{one}" for one in EXPORT_FORMATS)
        if request.format is not None:
            endings = f".{kind} with --format {kind}"
        raise UsageError(f"--output must end in {endings}, got {request.output}")
    check_settings(request)
    if request.network.weights is not None and not request.network.weights.is_file():
        raise UsageError(f"no such checkpoint file: {request.network.weights}")
