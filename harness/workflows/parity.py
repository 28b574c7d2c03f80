"""``harness parity``: two engines, the same weights, the same images, stage by stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from harness.core.architecture import Architecture
from harness.core.detections import Image
from harness.core.errors import IntegrityError, UsageError
from harness.core.progress import Advance, Progress
from harness.core.record import CheckpointFacts
from harness.core.requests.zoo import ParityRequest
from harness.data.image_files import SUFFIXES, known_endings
from harness.data.images import read_pixels
from harness.engines.detectron2 import open_detectron2, require_detectron2
from harness.engines.native import open_native
from harness.engines.opening import require_network
from harness.engines.parity import ParityReport, compare_engines
from harness.engines.stages import detectron2_stages
from harness.measure.agreement import EXPORTED_MASK_SLACK_PX
from harness.zoo.architectures import architecture_of
from harness.zoo.checkpoints import find_checkpoint
from harness.zoo.exported import EXPORT_AGAIN, find_exported, read_facts
from harness.zoo.lock import find_model, read_lock


def check_parity(request: ParityRequest, *, progress: Progress) -> ParityReport:
    """Compare the native engine with another one on the images of a folder, on the CPU.

    Args:
        request: The model, the engine to compare with, and the images.
        progress: Receives progress.

    Returns:
        The differences of every stage.

    Raises:
        PrerequisiteError: A package that the comparison needs, or the checkpoint, is not there.
        UsageError: An invalid argument, or no images.
        IntegrityError: A file is damaged or belongs to another checkpoint.
    """
    paths = images_in(request.images)[: request.limit]
    lock, threads, against = read_lock(), request.threads, request.against
    entry = find_model(lock, request.network.model)
    require_network(against, architecture_of(entry.architecture))
    _require(against)
    checkpoint = find_checkpoint(lock, entry, request.network.weights, request.network.root)
    if against == "onnx":
        return check_exported(
            find_exported(entry, request.exported, request.network.root),
            checkpoint=checkpoint,
            paths=paths,
            threads=threads,
            progress=progress,
        )
    architecture, file = architecture_of(entry.architecture), Path(checkpoint.path)
    native = open_native(architecture=architecture, weights=file, device="cpu", threads=threads)
    reference = open_detectron2(
        architecture=architecture, weights=file, device="cpu", threads=threads
    )
    stages = partial(detectron2_stages, reference)
    with progress.task("compare", total=len(paths), unit="img") as tick:
        return compare_engines(native, reference, _decoded(paths, tick), reference_stages=stages)


def check_exported(
    file: Path,
    *,
    checkpoint: CheckpointFacts,
    paths: Sequence[Path],
    threads: int | None,
    progress: Progress,
) -> ParityReport:
    """Compare an exported file with the checkpoint it was made from, on the CPU.

    Args:
        file: The exported ONNX file.
        checkpoint: The weights it was exported from.
        paths: Images to compare on.
        threads: CPU threads of both engines; None leaves the choice to them.
        progress: Receives progress.

    Returns:
        The differences of every stage.

    Raises:
        IntegrityError: The file was exported from another checkpoint.
    """
    from harness.engines.onnx import open_onnx
    from harness.export.stages import exported_stages, open_stages

    facts = read_facts(file)
    if checkpoint.sha256 != facts.checkpoint_sha256:
        raise IntegrityError(
            f"{file} was exported from another checkpoint than {checkpoint.path}:\n"
            f"  in the file sha256 {facts.checkpoint_sha256}\n"
            f"  checkpoint  sha256 {checkpoint.sha256}",
            hint=f"name its checkpoint with --weights, or {EXPORT_AGAIN.format(model=facts.model)}",
        )
    numbers: Architecture = facts.architecture
    native = open_native(
        architecture=numbers, weights=Path(checkpoint.path), device="cpu", threads=threads
    )
    reference = open_onnx(architecture=numbers, weights=file, device="cpu", threads=threads)
    tapped = open_stages(file, threads=reference.info.threads)
    stages = partial(exported_stages, tapped)
    with progress.task("compare", total=len(paths), unit="img") as tick:
        return compare_engines(
            native,
            reference,
            _decoded(paths, tick),
            reference_stages=stages,
            mask_slack_px=EXPORTED_MASK_SLACK_PX,
        )


def images_in(folder: Path) -> list[Path]:
    """Return the image files of a folder, sorted by name; sub-folders are not read.

    Raises:
        UsageError: There is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise UsageError(f"no such folder of images: {folder}")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise UsageError(f"no image in {folder}", hint=known_endings())
    return paths


def _require(against: str) -> None:
    """Check that the packages the comparison needs are installed, before anything is read.

    Raises:
        PrerequisiteError: One is missing.
    """
    if against == "detectron2":
        require_detectron2()
        return
    from harness.engines.onnx import require_onnx_settings
    from harness.export.onnx_file import require_exporter

    require_exporter()
    require_onnx_settings("cpu", "fp32")


def _decoded(paths: Sequence[Path], tick: Advance) -> Iterator[Image]:
    for number, path in enumerate(paths):
        yield Image(image_id=number, pixels_bgr=read_pixels(path, where=str(path)))
        tick(1)
