"""``harness parity``: two engines, the same weights, the same images, stage by stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.core.detections import Image
from harness.core.errors import UsageError
from harness.core.progress import Advance, Progress
from harness.data.images import read_pixels
from harness.engines.detectron2 import open_detectron2, require_detectron2
from harness.engines.native import open_native
from harness.engines.opening import require_network
from harness.engines.parity import ParityReport, compare_engines
from harness.zoo.architectures import architecture_of
from harness.zoo.checkpoints import find_checkpoint
from harness.zoo.lock import find_model, read_lock

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def check_parity(
    *,
    model: str,
    images: Path,
    weights: Path | None,
    root: Path,
    limit: int | None,
    threads: int | None,
    progress: Progress,
) -> ParityReport:
    """How far the native engine and Detectron2 differ on the images of a folder, on the CPU."""
    paths = find_images(images)[:limit]
    lock = read_lock()
    entry = find_model(lock, model)
    architecture = architecture_of(entry.architecture)
    require_network("detectron2", architecture)
    require_detectron2()
    checkpoint = find_checkpoint(lock, entry, weights, root)
    native = open_native(
        architecture=architecture, weights=checkpoint, device="cpu", threads=threads
    )
    reference = open_detectron2(
        architecture=architecture, weights=checkpoint, device="cpu", threads=threads
    )
    with progress.task("compare", total=len(paths), unit="img") as tick:
        return compare_engines(native, reference, _decoded(paths, tick))


def find_images(folder: Path) -> list[Path]:
    """The image files of a folder by name; UsageError when there is none."""
    if not folder.is_dir():
        raise UsageError(f"no such folder of images: {folder}")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_ENDINGS)
    if not paths:
        raise UsageError(f"no image in {folder}", hint=f"known endings: {', '.join(IMAGE_ENDINGS)}")
    return paths


def _decoded(paths: Sequence[Path], tick: Advance) -> Iterator[Image]:
    for number, path in enumerate(paths):
        yield Image(image_id=number, pixels_bgr=read_pixels(path, where=str(path)))
        tick(1)
