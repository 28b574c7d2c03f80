"""The detectors of torchvision behind the Engine protocol.

Preprocessing, network and post-processing are torchvision's; around them, this engine reads a
verified checkpoint, maps labels to classes and encodes masks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

from harness.core.architecture import Architecture
from harness.core.detections import Detections, Image
from harness.core.engine import EngineInfo, Precision, Stopwatch
from harness.core.errors import IntegrityError, RunFailedError
from harness.core.run_lengths import Rle
from harness.data.images import nothing_left
from harness.engines.device_memory import fitting
from harness.engines.devices import (
    OnDevice,
    apply_precision,
    apply_threads,
    device_class,
    find_device,
    give_memory_back,
    keep_freed_memory,
    notes_on,
    require_single_precision,
)
from harness.measure.masks import encode_region
from harness.nn.rcnn import require_finite
from harness.nn.torchvision_networks import (
    CLASSIFIER,
    build_torchvision,
    coco_labels,
    preprocessing_of,
    published_labels,
    weight_shapes,
    with_own_masks_only,
)
from harness.nn.unfilled import Unfilled, fill
from harness.zoo.weights import account_for, read_checkpoint


class PreparedImage(NamedTuple):
    """An image for torchvision's network, which resizes it."""

    image_id: int
    """Id of the image."""

    pixels: Tensor
    """(3, H, W) uint8 in the network's channel order."""


def open_torchvision(
    *,
    architecture: Architecture,
    weights: Path,
    device: str = "auto",
    precision: Precision = "fp32",
    threads: int | None = None,
) -> TorchvisionEngine:
    """Return a network of torchvision with a checkpoint, ready for inference.

    Args:
        architecture: Names torchvision's builder.
        weights: A checkpoint of it.
        device: As in ``find_device``.
        precision: fp32 or tf32.
        threads: CPU threads; None for ``devices.usable_threads``.

    Raises:
        UsageError: A reduced precision.
        IntegrityError: The checkpoint is of another network, or for other classes.
    """
    require_single_precision("torchvision", precision)
    place = find_device(device)
    apply_precision(precision, place)
    keep_freed_memory(place)
    thread_count = apply_threads(threads)
    network, labels = load_torchvision(architecture, weights)
    for part in ("rpn.head", "roi_heads.box_predictor"):
        network.get_submodule(part).register_forward_hook(_look_at_output)
    info = EngineInfo(
        name="torchvision",
        version=torchvision.__version__,
        device=str(place),
        device_class=device_class(place),
        precision=precision,
        threads=thread_count,
        architecture=architecture,
        memory_format="contiguous",
    )
    return TorchvisionEngine(network.to(place), info, place, labels, notes_on(device))


def load_torchvision(
    architecture: Architecture, weights: Path
) -> tuple[nn.Module, tuple[int, ...]]:
    """Return a network with its weights, on the CPU, and the label of each class.

    Args:
        architecture: Names torchvision's builder.
        weights: A checkpoint of it.

    Raises:
        IntegrityError: The checkpoint is of another network, or for other classes.
    """
    tensors = read_checkpoint(weights)
    labels = class_labels(architecture, tensors, where=str(weights))
    with Unfilled():
        network = build_torchvision(architecture, _label_count(architecture, tensors))
    load_weights(network, tensors, where=str(weights))
    return network, labels


def class_labels(
    architecture: Architecture, tensors: Mapping[str, Any], *, where: str
) -> tuple[int, ...]:
    """Return the label that the network gives each class, by class index.

    Of a network with torchvision's 91 labels, COCO's category ids; of one that was trained for
    other classes, 1 … n.

    Args:
        architecture: With the number of classes.
        tensors: The checkpoint.
        where: Its name in errors.

    Raises:
        IntegrityError: The labels are neither.
    """
    assert architecture.torchvision is not None
    count = _label_count(architecture, tensors)
    if count == architecture.class_count + 1:
        return tuple(range(1, count))
    labels = coco_labels(architecture.torchvision)
    if count == published_labels(architecture) and len(labels) == architecture.class_count:
        return labels
    raise IntegrityError(
        f"{where} has {count} labels, background included; {architecture.class_count} categories "
        f"need {architecture.class_count + 1}",
        hint="the checkpoint was trained for another number of classes; --annotations FILE says "
        "what classes weights of your own know",
    )


def _label_count(architecture: Architecture, tensors: Mapping[str, Any]) -> int:
    """Return the labels of a checkpoint; without a classifier in it, those of the published
    weights.
    """
    found = tensors.get(CLASSIFIER)
    return published_labels(architecture) if found is None else len(found)


def load_weights(network: nn.Module, tensors: Mapping[str, Any], *, where: str) -> None:
    """Copy every tensor into a network.

    Args:
        network: To be filled.
        tensors: The checkpoint.
        where: Its name in errors.

    Raises:
        IntegrityError: One is missing, left over, or of another shape.
    """
    tensors = with_own_masks_only(tensors)
    fill(network.state_dict(), account_for(tensors, weight_shapes(network), where=where))


class TorchvisionEngine(OnDevice):
    """An opened network of torchvision, or a file that was exported from one."""

    def __init__(
        self,
        network: Any,
        info: EngineInfo,
        device: torch.device,
        labels: tuple[int, ...],
        notes: Sequence[str] = (),
    ) -> None:
        assert info.architecture.torchvision is not None
        self.network = network
        self.info = info
        self.device = device
        self.notes = tuple(notes)
        self._preprocess = preprocessing_of(info.architecture.torchvision)
        self._class_of_label = torch.full((max(labels) + 1,), -1)
        self._class_of_label[list(labels)] = torch.arange(len(labels))

    def prepare(self, image: Image, stopwatch: Stopwatch) -> PreparedImage:
        """Return the pixels in the network's channel order; resizing is part of the network.

        Raises:
            IntegrityError: The image is so narrow that a resize leaves nothing of it.
        """
        self._require_resizable(image.height_px, image.width_px)
        with stopwatch.phase("resize"):
            pixels = image.pixels_bgr
            if self.info.architecture.channel_order == "RGB":
                pixels = pixels[:, :, ::-1]
            planes = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
        return PreparedImage(image.image_id, planes)

    def _require_resizable(self, height_px: int, width_px: int) -> None:
        """Raise IntegrityError where torchvision's resize, which rounds down, leaves nothing."""
        numbers = self.info.architecture
        short, long = sorted((height_px, width_px))
        if short * min(numbers.short_edge_px / short, numbers.long_edge_max_px / long) < 1:
            raise nothing_left(height_px, width_px)

    @torch.inference_mode()
    def infer(self, prepared: Sequence[PreparedImage], stopwatch: Stopwatch) -> list[Detections]:
        """Return detections of each image, in order; resizing and pasting are inside ``forward``.

        Raises:
            RunFailedError: The network's output is not finite, or the images need more memory than
                the device has.
        """
        with fitting([one.image_id for one in prepared], self.info):
            return self._infer(prepared, stopwatch)

    def _infer(self, prepared: Sequence[PreparedImage], stopwatch: Stopwatch) -> list[Detections]:
        apply_precision(self.info.precision, self.device)  # another engine may have computed since
        with stopwatch.phase("transfer"):
            images = [self._preprocess(one.pixels.to(self.device)) for one in prepared]
        with stopwatch.phase("forward"):
            try:
                outputs = self.network(images)
            except FloatingPointError as error:
                ids = ", ".join(str(one.image_id) for one in prepared)
                raise RunFailedError(f"image {ids}: {error}", hint="check the weights") from None
        with stopwatch.phase("encode"):
            return [
                self._detections(one.image_id, output)
                for one, output in zip(prepared, outputs, strict=True)
            ]

    def _detections(self, image_id: int, output: Mapping[str, Tensor]) -> Detections:
        """Return one image's detections without labels of no class, as COCO's scoring does."""
        labels = output["labels"].cpu()
        inside = labels < len(self._class_of_label)
        classes = torch.where(inside, self._class_of_label[labels * inside], -1)
        known = classes >= 0
        masks = None
        if "masks" in output:
            threshold = self.info.architecture.mask_threshold
            binary = (output["masks"][known.to(self.device), 0] > threshold).cpu().numpy()
            masks = tuple(_encode(mask) for mask in binary)
        return Detections(
            image_id=image_id,
            boxes_xyxy_px=output["boxes"].cpu()[known].numpy(),
            scores=output["scores"].cpu()[known].numpy(),
            class_index=classes[known].numpy(),
            masks=masks,
        )

    def close(self) -> None:
        """Free the device's memory."""
        del self.network
        give_memory_back(self.device)


def _look_at_output(module: nn.Module, given: Any, output: tuple[Any, Any]) -> None:
    """Check an output that torchvision would silently read as nothing found.

    Raises:
        FloatingPointError: It is not finite.
    """
    del module, given
    tensors = [one for part in output for one in ([part] if isinstance(part, Tensor) else part)]
    require_finite(*tensors)


def _encode(mask: np.ndarray[Any, Any]) -> Rle:
    height_px, width_px = mask.shape
    return encode_region(mask, top_px=0, left_px=0, height_px=height_px, width_px=width_px)
