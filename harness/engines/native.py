"""The native engine: the network of ``harness.nn`` behind the Engine protocol.

Its contract is numerical equality with Detectron2 on the same weights and images, in fp32.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.core.architecture import Architecture
from harness.core.detections import Detections, Image, Rle
from harness.core.engine import EngineInfo, MemoryFormat, Precision, Stopwatch
from harness.core.errors import RunFailedError
from harness.data.images import resize, resize_shape
from harness.engines.devices import (
    DTYPES,
    apply_precision,
    apply_threads,
    device_class,
    find_device,
    give_memory_back,
    keep_freed_memory,
    peak_memory_bytes,
    settle,
)
from harness.measure.rle import encode_edges, encode_region
from harness.nn.boxes import clip, nonempty
from harness.nn.masks import PastedMask, paste_outlines, paste_regions
from harness.nn.rcnn import RCNN, prepare_for_inference
from harness.nn.roi_heads import RawDetections
from harness.zoo.weights import account_for, read_checkpoint


class PreparedImage(NamedTuple):
    """An image resized for the network.

    pixels: (h, w, 3) uint8 in the network's channel order. height_px, width_px: of the original.
    """

    image_id: int
    pixels: npt.NDArray[np.uint8]
    height_px: int
    width_px: int


def open_native(
    *,
    architecture: Architecture,
    weights: Path,
    device: str = "auto",
    precision: Precision = "fp32",
    memory_format: MemoryFormat | None = None,
    compiled: bool = False,
    threads: int | None = None,
) -> NativeEngine:
    """The native engine with the checkpoint ``weights`` on ``device``, ready for inference.

    memory_format: None for channels_last, the layout both oneDNN and cuDNN convolve fastest.
    compiled: by torch.compile, at the first image.
    """
    place = find_device(device)
    apply_precision(precision, place)
    keep_freed_memory(place)
    thread_count = apply_threads(threads)
    network = load_network(architecture, weights)
    prepare_for_inference(network, place, compiled=compiled)
    network = network.to(place)
    if memory_format != "contiguous":
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs
    for part in (network.backbone, network.proposal_generator.rpn_head, network.roi_heads):
        part.to(DTYPES[precision])
    if compiled:
        compile_static_parts(network)
    info = EngineInfo(
        name="native",
        version=torch.__version__,
        device=str(place),
        device_class=device_class(place),
        precision=precision,
        threads=thread_count,
        architecture=architecture,
        memory_format=memory_format or "channels_last",
        compiled=compiled,
    )
    return NativeEngine(network, info, place)


def load_network(architecture: Architecture, weights: Path) -> RCNN:
    """The network in fp32 on the CPU with every tensor of ``weights`` accounted for."""
    network = RCNN(architecture).eval().requires_grad_(False)
    expected = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    tensors = account_for(read_checkpoint(weights), expected, where=str(weights))
    network.load_state_dict({key: torch.from_numpy(value) for key, value in tensors.items()})
    return network


def compile_static_parts(network: RCNN) -> None:
    """Compile, at their first call, the parts whose work depends on nothing but shapes.

    One compilation serves all sizes of images and all numbers of regions.
    """
    heads = network.roi_heads
    parts = [network.backbone, network.proposal_generator.rpn_head, heads.box_head]
    for part in parts:
        part.compile(dynamic=True)


#: Masks as regions of the image, or as outlines (``nn.masks``).
Pasted = list[PastedMask] | list[Tensor]


class NativeEngine:
    """An opened network. Not thread-safe, but ``prepare`` may run in any thread."""

    def __init__(self, network: RCNN, info: EngineInfo, device: torch.device) -> None:
        self.network = network
        self.info = info
        self.device = device

    def prepare(self, image: Image, stopwatch: Stopwatch) -> PreparedImage:
        """The image resized to the architecture's test size, in its channel order."""
        numbers = self.info.architecture
        with stopwatch.phase("resize"):
            height, width = resize_shape(
                image.height_px, image.width_px, numbers.short_edge_px, numbers.long_edge_max_px
            )
            pixels = resize(image.pixels_bgr, height, width)
            if numbers.channel_order == "RGB":
                pixels = np.ascontiguousarray(pixels[:, :, ::-1])
        return PreparedImage(image.image_id, pixels, image.height_px, image.width_px)

    @torch.inference_mode()
    def infer(self, prepared: Sequence[PreparedImage], stopwatch: Stopwatch) -> list[Detections]:
        """Detections of each image, in order, in original pixels."""
        apply_precision(self.info.precision, self.device)  # another engine may have computed since
        with stopwatch.phase("transfer"):
            tensors = [
                torch.from_numpy(one.pixels).to(self.device).permute(2, 0, 1) for one in prepared
            ]
        with stopwatch.phase("forward"):
            batch = self.network.batch(tensors)
            try:
                raw, soft = self.network(batch)
            except FloatingPointError as error:
                ids = ", ".join(str(one.image_id) for one in prepared)
                raise RunFailedError(
                    f"image {ids}: {error}",
                    hint="reduced precision can overflow: try --precision fp32; "
                    "else check the weights",
                ) from None
        with stopwatch.phase("paste"):
            restored = [
                self._restore(one, found, size, None if soft is None else soft[index])
                for index, (one, found, size) in enumerate(
                    zip(prepared, raw, batch.sizes, strict=True)
                )
            ]
        with stopwatch.phase("encode"):
            return [
                _detections(one, found, masks)
                for one, (found, masks) in zip(prepared, restored, strict=True)
            ]

    def _restore(
        self,
        image: PreparedImage,
        found: RawDetections,
        size: tuple[int, int],
        soft: Tensor | None,
    ) -> tuple[RawDetections, Pasted | None]:
        """Boxes in original pixels, clipped, the empty ones dropped; masks pasted."""
        scale_x, scale_y = image.width_px / size[1], image.height_px / size[0]
        boxes = found.boxes * found.boxes.new_tensor([scale_x, scale_y, scale_x, scale_y])
        boxes = clip(boxes, image.height_px, image.width_px)
        kept = nonempty(boxes)
        found = RawDetections(boxes[kept], found.scores[kept], found.classes[kept])
        if soft is None:
            return found, None
        threshold = self.info.architecture.mask_threshold
        way = paste_regions if self.device.type == "cpu" else paste_outlines
        return found, way(soft[kept], found.boxes, image.height_px, image.width_px, threshold)

    def settle(self) -> None:
        """Wait for the device."""
        settle(self.device)

    def peak_memory_bytes(self) -> int | None:
        """Peak bytes torch allocated on the GPU; None on a CPU."""
        return peak_memory_bytes(self.device)

    def close(self) -> None:
        """Give the device's memory back."""
        del self.network
        give_memory_back(self.device)


def _detections(image: PreparedImage, found: RawDetections, pasted: Pasted | None) -> Detections:
    return Detections(
        image_id=image.image_id,
        boxes_xyxy_px=found.boxes.cpu().numpy(),
        scores=found.scores.cpu().numpy(),
        class_index=found.classes.cpu().numpy(),
        masks=None if pasted is None else tuple(_encoded(one, image) for one in pasted),
    )


def _encoded(mask: PastedMask | Tensor, image: PreparedImage) -> Rle:
    height, width = image.height_px, image.width_px
    if isinstance(mask, Tensor):
        return encode_edges(mask.numpy(), height_px=height, width_px=width)
    return encode_region(
        mask.region.numpy(),
        top_px=mask.top_px,
        left_px=mask.left_px,
        height_px=height,
        width_px=width,
    )
