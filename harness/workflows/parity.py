"""``harness parity``: that the native engine computes what the reference computes.

Two proofs. The exact one: with ``--exact`` every stage and every detection has Detectron2's bits.
The fast one: what is computed otherwise differs by rounding only, whatever the weights. For an
exported file, stages are compared with fixed bars.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from harness.core.architecture import Architecture
from harness.core.detections import Image
from harness.core.engine import (
    EXPORT_FORMATS,
    Engine,
    EngineInfo,
    EngineName,
    ExportFormat,
    Precision,
)
from harness.core.errors import IntegrityError, UsageError
from harness.core.progress import Advance, Progress
from harness.core.record import CheckpointFacts
from harness.core.requests.inference import EngineOptions
from harness.core.requests.zoo import ParityRequest
from harness.data.image_files import SUFFIXES, known_endings
from harness.data.images import about, read_pixels, resize_shape
from harness.data.proposals import generated_proposals
from harness.engines.detectron2 import (
    MODULES,
    Detectron2Engine,
    open_detectron2,
    require_detectron2,
)
from harness.engines.devices import find_device, require_precision
from harness.engines.native import NativeEngine, open_native
from harness.engines.opening import open_engine, require_file_settings, require_network
from harness.engines.parity.bits import ExactProof, prove_exact
from harness.engines.parity.case import Case
from harness.engines.parity.comparison import ParityReport, compare_detections, compare_engines
from harness.engines.parity.rounding import FastProof, float64_network, prove_fast
from harness.engines.parity.rounding_cases import DenseCase, GivenCase, PanopticCase, ProposalCase
from harness.engines.torchvision import open_torchvision
from harness.measure.agreement import EXPORTED_MASK_SLACK_PX
from harness.zoo.architectures import architecture_of
from harness.zoo.checkpoints import find_checkpoint, unchanging
from harness.zoo.exported import EXPORT_AGAIN, find_exported, kind_of, read_facts
from harness.zoo.lock import find_model, read_lock


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityProofs:
    """Both proofs, and what they were made with. None for a proof that was not asked for."""

    against: str
    """What was compared with."""
    engine: EngineInfo
    """The exact engine: the reference of the fast proof."""
    exact: ExactProof | None
    """That it has Detectron2's bits."""
    fast: FastProof | None
    """That the fast engine differs by rounding only."""
    ok: bool
    """Whether every proof that was made succeeded."""


def check_parity(request: ParityRequest, *, progress: Progress) -> ParityReport | ParityProofs:
    """Prove what ``request`` asks for, on the images of a folder.

    Args:
        request: The model, what it is compared with and how, and the images.
        progress: Receives progress.

    Returns:
        The proofs; of an exported file, the differences of every stage.

    Raises:
        PrerequisiteError: A package that the comparison needs, or the checkpoint, is not there.
        UsageError: An invalid argument, settings that contradict each other, or no images.
        IntegrityError: A file is damaged or belongs to another checkpoint.
    """
    paths = images_in(request.images)[: request.limit]
    lock, threads, against = read_lock(), request.threads, request.against
    entry = find_model(lock, request.network.model)
    architecture = architecture_of(entry.architecture)
    engine: EngineName = "native" if against == "float64" else against
    require_network(engine, architecture, repair=_comparable(architecture))
    _require(request)
    checkpoint = find_checkpoint(lock, entry, request.network.weights, request.network.root)
    if against in EXPORT_FORMATS:
        return check_exported(
            find_exported(entry, request.exported, request.network.root, against),
            checkpoint=checkpoint,
            paths=paths,
            threads=threads,
            progress=progress,
        )
    weights = Path(checkpoint.path)
    with unchanging(weights):  # several engines load it, one after the other
        proofs = prove(
            Opening(architecture, weights, request.device, request.precision, threads),
            paths,
            exact=against == "detectron2" and request.precision in ("fp32", "tf32"),
            fast=not request.exact_only,
            progress=progress,
        )
    return replace(proofs, against=against)


def prove(
    opening: Opening, paths: Sequence[Path], *, exact: bool, fast: bool, progress: Progress
) -> ParityProofs:
    """Make the two proofs of a network.

    Args:
        opening: The network, its weights, and how both engines are opened.
        paths: Images to prove them on.
        exact: Whether to prove that ``--exact`` has Detectron2's bits.
        fast: Whether to prove that the fast engine differs by rounding only.
        progress: Receives progress.

    Returns:
        The proofs; None for one that was not asked for.
    """
    reference = opening.native(exact=True)
    architecture = opening.architecture
    images = partial(_decoded, paths, architecture)
    same = near = None
    if exact:
        with progress.task("exact", total=len(paths), unit="img") as tick:
            same = prove_exact(reference, opening.detectron2(), images(tick))
    if fast:
        truth = float64_network(architecture, opening.weights, reference.device)
        with progress.task("fast", total=len(paths), unit="img") as tick:
            case = case_of(architecture)
            near = prove_fast(opening.native(), reference, truth, images(tick), case=case)
    return ParityProofs(
        against="detectron2" if exact else "float64",
        engine=reference.info,
        exact=same,
        fast=near,
        ok=all(proof.ok for proof in (same, near) if proof is not None),
    )


def case_of(architecture: Architecture) -> type[Case]:
    """Return how a network's decisions are compared with those of float64.

    Args:
        architecture: Architecture of the network.
    """
    if architecture.given_proposals:
        return GivenCase
    if architecture.is_panoptic:
        return PanopticCase
    return {"dense": DenseCase, "rpn": ProposalCase, "rcnn": Case}[architecture.detector]


class Opening(NamedTuple):
    """How the engines of a proof are opened."""

    architecture: Architecture
    weights: Path
    device: str
    precision: Precision
    threads: int | None

    def native(self, *, exact: bool = False) -> NativeEngine:
        """The native engine, fast or exact."""
        return open_native(**self._asdict(), exact=exact)

    def detectron2(self) -> Detectron2Engine:
        """Detectron2."""
        return open_detectron2(**self._asdict())


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
        file: The exported file.
        checkpoint: The weights it was exported from.
        paths: Images to compare on.
        threads: CPU threads of both engines; None leaves the choice to them.
        progress: Receives progress.

    Returns:
        The differences of every stage.

    Raises:
        IntegrityError: The file was exported from another checkpoint.
    """
    facts = read_facts(file)
    if checkpoint.sha256 != facts.checkpoint_sha256:
        raise IntegrityError(
            f"{file} was exported from another checkpoint than {checkpoint.path}:\n"
            f"  in the file sha256 {facts.checkpoint_sha256}\n"
            f"  checkpoint  sha256 {checkpoint.sha256}",
            hint=f"name its checkpoint with --weights, or {EXPORT_AGAIN.format(model=facts.model)}",
        )
    with progress.task("compare", total=len(paths), unit="img") as tick:
        images = _decoded(paths, facts.architecture, tick)
        return _compared(facts.architecture, file, Path(checkpoint.path), images, threads)


def _compared(
    numbers: Architecture,
    file: Path,
    weights: Path,
    images: Iterator[Image],
    threads: int | None,
) -> ParityReport:
    """Compare a file with a checkpoint; of torchvision's networks, the detections alone."""
    from harness.export.stages import exported_stages, open_stages

    reference = _opened(file, numbers, threads)
    if numbers.torchvision is not None:
        own = open_torchvision(architecture=numbers, weights=weights, device="cpu", threads=threads)
        return compare_detections(own, reference, images, mask_slack_px=EXPORTED_MASK_SLACK_PX)
    native = open_native(architecture=numbers, weights=weights, device="cpu", threads=threads)
    tapped = open_stages(file, threads=reference.info.threads)
    return compare_engines(
        native,
        reference,
        images,
        reference_stages=partial(exported_stages, tapped),
        mask_slack_px=EXPORTED_MASK_SLACK_PX,
    )


def _opened(file: Path, architecture: Architecture, threads: int | None) -> Engine:
    """Return the engine of an exported file, on the CPU."""
    return open_engine(
        kind_of(file),
        architecture=architecture,
        weights=file,
        dataset=None,
        options=EngineOptions(device="cpu", threads=threads),
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


def _comparable(architecture: Architecture) -> str:
    """What a network that Detectron2 does not know can be compared with."""
    if architecture.torchvision is None:
        return "compare it with its own arithmetic: --against float64"
    return "compare it with an exported file: --against onnx or --against pt2"


def _require(request: ParityRequest) -> None:
    """Raise what would be raised later, before anything is read: packages, device, settings."""
    if request.against not in EXPORT_FORMATS:
        require_precision(request.precision, find_device(request.device))
        in_detectron2 = request.against == "detectron2" and request.precision in ("fp32", "tf32")
        if request.exact_only and not in_detectron2:
            raise UsageError(
                "--exact-only compares with Detectron2, which computes in fp32 or tf32",
                hint="leave out --exact-only, or --against and --precision",
            )
        if request.against == "detectron2":
            require_detectron2(*MODULES)
        return
    require_exporting(request.against)


def require_exporting(kind: ExportFormat) -> None:
    """Check that an exported file can be written or looked into here, and run on the CPU.

    Raises:
        PrerequisiteError: A package is missing.
    """
    if kind == "onnx":
        from harness.export.onnx_file import require_exporter

        require_exporter()
    require_file_settings(kind, "cpu", "fp32")


def _decoded(paths: Sequence[Path], numbers: Architecture, tick: Advance) -> Iterator[Image]:
    """Yield the images; with generated proposals where the network has to be given some.

    Raises:
        IntegrityError: One cannot be read, or is so narrow that a resize leaves nothing of it.
    """
    for number, path in enumerate(paths):
        image = Image(image_id=number, pixels_bgr=read_pixels(path, where=str(path)))
        sides = (image.height_px, image.width_px)
        with about(str(path)):
            resize_shape(*sides, numbers.short_edge_px, numbers.long_edge_max_px)
        if numbers.given_proposals:
            image = replace(image, proposals_xyxy_px=generated_proposals(image))
        yield image
        tick(1)
