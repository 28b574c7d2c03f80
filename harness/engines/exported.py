"""The engine around an exported file, whatever runs the file.

The file only takes the network's place, so a difference in AP is a difference of the file.
Everything around it is the engine's own that the network came from: of the native one resizing,
pasting and encoding, of torchvision's its resizing and pasting.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy.typing as npt
import torch
from torch import Tensor

from harness.core.architecture import Architecture
from harness.core.detections import Detections, Image
from harness.core.engine import Engine, EngineInfo, EngineName, Precision, Stopwatch
from harness.core.errors import UsageError
from harness.engines.devices import apply_threads, device_class, keep_freed_memory
from harness.engines.native import NativeEngine, PreparedImage
from harness.nn.heads import located
from harness.nn.rcnn import RCNN, Batch, Found
from harness.nn.roi_heads import RawDetections
from harness.zoo.exported import read_facts, require_match

#: Names of what goes into a file, in order; proposals only of a network that makes none.
IMAGE, PROPOSALS = "image", "proposals"

#: Names of what comes out of a file, in order; the last three only of a network that has them.
RESULTS = ("boxes", "scores", "classes", "finite")
MASKS, KEYPOINTS, SEMANTICS = "masks", "keypoint_heat", "semantic_logits"


def results_of(architecture: Architecture) -> tuple[str, ...]:
    """Return the names of the results of a network's file."""
    parts = {
        MASKS: architecture.has_masks,
        KEYPOINTS: architecture.keypoint_count > 0,
        SEMANTICS: architecture.is_panoptic,
    }
    return (*RESULTS, *(name for name, there in parts.items() if there))


def inputs_of(architecture: Architecture) -> tuple[str, ...]:
    """Return the names of the inputs of a network's file."""
    return (IMAGE, PROPOSALS) if architecture.given_proposals else (IMAGE,)


class ExportedNetwork(ABC):
    """What runs a file, in the place of the network."""

    @abstractmethod
    def values(self, *given: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """Return every output of the file by name.

        Args:
            given: An image (H, W, 3), and proposals (n, 4) of a network that makes none.
        """

    def batch(self, images: Sequence[Tensor], canvas: tuple[int, int] = (0, 0)) -> Batch:
        """Return the images as they are: the file normalises and pads. Only one at a time.

        Args:
            images: The one image, (3, H, W) uint8.
            canvas: As in an ``RCNN``; alone in its batch, an image needs none.
        """
        (image,) = images
        return Batch(image, ((int(image.shape[1]), int(image.shape[2])),))

    def __call__(self, batch: Batch, given: Sequence[Tensor] = ()) -> Found:
        """Return what an ``RCNN`` returns.

        Args:
            batch: As returned by `batch`.
            given: Proposals of the one image, of a network that makes none.

        Raises:
            FloatingPointError: The output is not finite.
        """
        found = self.values(
            batch.pixels.permute(1, 2, 0).numpy(), *(one.cpu().numpy() for one in given)
        )
        if not found["finite"]:
            raise FloatingPointError("the network's output is not finite")
        tensors = {name: torch.tensor(value) for name, value in found.items() if value.ndim}
        raw = RawDetections(tensors["boxes"], tensors["scores"], tensors["classes"])
        masks = [tensors[MASKS]] if MASKS in tensors else None
        heat = tensors.get(KEYPOINTS)
        points = None if heat is None else [located(heat, raw.boxes)]
        semantics = tensors[SEMANTICS][None] if SEMANTICS in tensors else None
        return Found(detections=[raw], masks=masks, keypoints=points, semantics=semantics)


class ExportedEngine:
    """An opened file, inside a native engine whose network it replaces."""

    def __init__(
        self, network: ExportedNetwork, info: EngineInfo, notes: Sequence[str] = ()
    ) -> None:
        self.info = info
        self.notes = tuple(notes)
        # No RCNN, but all that the native engine asks of one: ``batch`` and a call. What comes out
        # of a file is on the CPU, whatever computed it.
        self.network = network
        self._native = NativeEngine(cast(RCNN, network), info, torch.device("cpu"))

    def prepare(self, image: Image, stopwatch: Stopwatch) -> PreparedImage:
        """Return the image resized to the architecture's test size, in its channel order."""
        return self._native.prepare(image, stopwatch)

    def infer(self, prepared: Sequence[PreparedImage], stopwatch: Stopwatch) -> list[Detections]:
        """Return detections of each image, computed one after the other, in original pixels."""
        return [self._native.infer([one], stopwatch)[0] for one in prepared]

    def synchronize(self) -> None:
        """Nothing to wait for: a file returns its output when it has finished."""

    def peak_memory_bytes(self) -> int | None:
        """Return None: what runs a file does not report it."""
        return None

    def close(self) -> None:
        """Free the file's memory."""
        del self.network
        self._native.close()


def info_of_file(
    weights: Path,
    architecture: Architecture,
    *,
    name: EngineName,
    version: str,
    place: torch.device,
    threads: int | None,
) -> EngineInfo:
    """Return what an engine of a file says of itself, with threads and memory set for it.

    Args:
        weights: The exported file.
        architecture: What it has to contain.
        name: Name of the engine.
        version: Version of what runs the file.
        place: Where it is run.
        threads: CPU threads; None for ``devices.usable_threads``.

    Raises:
        IntegrityError: The file is damaged, or of another network.
    """
    require_match(read_facts(weights), architecture, path=weights)
    count = apply_threads(threads)
    keep_freed_memory(place)
    return EngineInfo(
        name=name,
        version=version,
        device=str(place),
        device_class=device_class(place),
        precision="fp32",
        threads=count,
        architecture=architecture,
        memory_format="contiguous",
    )


def engine_of(network: ExportedNetwork, info: EngineInfo, notes: Sequence[str] = ()) -> Engine:
    """Return the engine around a file: that of the network it was exported from.

    Args:
        network: What runs the file.
        info: With the architecture of the file.
        notes: Sentences about what is done otherwise than asked.
    """
    if info.architecture.torchvision is None:
        return ExportedEngine(network, info, notes)
    from harness.engines.exported_torchvision import exported_torchvision

    return exported_torchvision(network, info, notes)


def require_fp32(precision: Precision) -> None:
    """Check that an exported file can be computed in a precision.

    Raises:
        UsageError: It is not fp32.
    """
    if precision != "fp32":
        raise UsageError(
            f"an exported file computes in fp32, not in {precision}",
            hint="choose --precision fp32, or --engine native",
        )
