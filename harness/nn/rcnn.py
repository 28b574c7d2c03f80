"""Every network of the zoo: the parts that an ``Architecture`` chooses, in order.

Its ``neck`` says what regions are proposed on and pooled from: a pyramid, C4 or DC5. Its
``detector`` says whether heads on regions find the objects, one dense head does (RetinaNet), or
nothing does (RPN). Heads for boxes, in one stage or in a cascade, for masks, keypoints and kinds of
stuff are there where it has numbers for them.

The stages are separate methods so that training, timing and the stage-by-stage parity check call
the same code that inference calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from harness.core.architecture import Architecture
from harness.nn.boxes import at_least_float32
from harness.nn.convolution import ONE_PASS_AVAILABLE, Conv, Deconv
from harness.nn.dense import DenseHead
from harness.nn.fpn import FPN, backbone_of
from harness.nn.heads import CONVOLVES_REGIONS, BoxHead
from harness.nn.normed import NormedConv
from harness.nn.panoptic import SemanticHead
from harness.nn.resnet import Staged
from harness.nn.roi_heads import RawDetections, RoIHeads
from harness.nn.rpn import RPN
from harness.nn.unfilled import Unfilled


class Batch(NamedTuple):
    """Normalised images padded to one size."""

    pixels: Tensor
    """(B, 3, H, W), H and W multiples of the architecture's divisor, zero outside each image."""

    sizes: tuple[tuple[int, int], ...]
    """(height, width) of each image before padding, px."""


class Found(NamedTuple):
    """What a network finds in the images of a batch; lists have one entry an image."""

    detections: list[RawDetections]
    """In px of the resized input."""

    masks: list[Tensor] | None
    """(n, M, M) probabilities in the frame of each box; None without a mask head."""

    keypoints: list[Tensor] | None
    """(n, K, 3) x, y in px of the resized input, and score; None without a keypoint head."""

    semantics: Tensor | None = None
    """(B, C, H / 4, W / 4) logits of the padded input; None without a semantic head."""


class RCNN(nn.Module):
    """The network. Attribute names are the key prefixes of the zoo's checkpoints."""

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.backbone = backbone_of(architecture)
        if architecture.detector == "dense":
            self.head = DenseHead(architecture)
        elif not architecture.given_proposals:
            self.proposal_generator = RPN(architecture)
        if architecture.detector == "rcnn":
            self.roi_heads = RoIHeads(architecture)
        if architecture.is_panoptic:
            self.sem_seg_head = SemanticHead(architecture)
        mean, std = architecture.pixel_mean, architecture.pixel_std
        self.register_buffer("pixel_mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(std).view(3, 1, 1), persistent=False)

    @property
    def first_weight(self) -> Tensor:
        """Return the weight that sees the pixels: its precision and layout are the network's."""
        return next(self.staged.stem.parameters())

    @property
    def staged(self) -> Staged:
        """Return the stem and the stages of the backbone."""
        return self.backbone.bottom_up if isinstance(self.backbone, FPN) else self.backbone

    @property
    def precise_parts(self) -> tuple[nn.Module, ...]:
        """Return the parts that compute in the network's precision; anchors stay float32."""
        if self.architecture.detector == "dense":
            layers = (module for module in self.head.modules() if isinstance(module, Conv))
            return (self.backbone, *layers)
        heads = (self.roi_heads,) if self.architecture.detector == "rcnn" else ()
        semantic = (self.sem_seg_head,) if self.architecture.is_panoptic else ()
        own = () if self.architecture.given_proposals else (self.proposal_generator.rpn_head,)
        return (self.backbone, *own, *heads, *semantic)

    def batch(self, images: Sequence[Tensor], canvas: tuple[int, int] = (0, 0)) -> Batch:
        """Return images normalised, padded and stacked.

        Padding comes after normalisation, so it is zero to the network (the reference's order).

        Args:
            images: Each (3, H, W) uint8, in the network's channel order, on its device.
            canvas: (height, width) they are padded to at least, px.
        """
        sizes = tuple((int(image.shape[1]), int(image.shape[2])) for image in images)
        divisor = self.architecture.size_divisor_px
        height = _round_up(max(canvas[0], *(size[0] for size in sizes)), divisor)
        width = _round_up(max(canvas[1], *(size[1] for size in sizes)), divisor)
        pixels = self.pixel_mean.new_zeros((len(images), 3, height, width))
        for slot, image, (h, w) in zip(pixels, images, sizes, strict=True):
            torch.sub(image, self.pixel_mean, out=slot[:, :h, :w])
            slot[:, :h, :w] /= self.pixel_std
        weight = self.first_weight
        layout = (
            torch.channels_last
            if weight.is_contiguous(memory_format=torch.channels_last)
            else torch.contiguous_format
        )
        return Batch(pixels.to(weight.dtype, memory_format=layout), sizes)

    def forward(self, batch: Batch, given: Sequence[Tensor] = ()) -> Found:
        """Return detections of each image, with their soft masks and keypoints if it has them.

        Args:
            batch: As returned by `batch`.
            given: Proposals of each image (n, 4), px of the resized input, of a network that
                proposes none.

        Raises:
            FloatingPointError: The network's output is not finite.
        """
        pyramid = self.backbone(batch.pixels)
        if self.architecture.detector == "dense":
            return Found(self._dense(pyramid), None, None)
        if self.architecture.detector == "rpn":
            return Found(self._proposed(pyramid, batch.sizes), None, None)
        proposals, objectness = list(given), ()
        if not self.architecture.given_proposals:
            proposals, objectness = self.proposal_generator(pyramid, batch.sizes)
        # Regions are pooled in fp32, twice.
        levels, pyramid = pyramid, [at_least_float32(level) for level in pyramid]
        semantics = self.sem_seg_head(levels) if self.architecture.is_panoptic else None
        stages = self.roi_heads.refine(pyramid, proposals, batch.sizes)
        smooth = [] if semantics is None else [semantics]
        require_finite(*objectness, *smooth, *(one for stage in stages for one in stage[1:]))
        scores, last = self.roi_heads.scores(stages), stages[-1]
        counts = [len(one) for one in proposals]
        detections = [
            self.roi_heads.detect(*rows)
            for rows in zip(
                scores.split(counts),
                last.deltas.split(counts),
                last.boxes,
                batch.sizes,
                strict=True,
            )
        ]
        numbers, heads = self.architecture, self.roi_heads
        return Found(
            detections,
            heads.masks(pyramid, detections) if numbers.has_masks else None,
            heads.keypoints(pyramid, detections) if numbers.keypoint_count else None,
            semantics,
        )

    def _proposed(
        self, pyramid: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
    ) -> list[RawDetections]:
        """Return the proposals as detections of one class; their score is that of an object."""
        rpn = self.proposal_generator
        logits, deltas = rpn.rpn_head(pyramid)
        require_finite(*logits, *deltas)
        return [
            RawDetections(boxes, found.sigmoid(), torch.zeros_like(found, dtype=torch.int64))
            for boxes, found in rpn.scored(logits, deltas, rpn.anchors(pyramid), sizes)
        ]

    def _dense(self, pyramid: Sequence[Tensor]) -> list[RawDetections]:
        logits, deltas = self.head(pyramid)
        require_finite(*logits, *deltas)
        anchors = self.head.anchors(pyramid)
        return [
            self.head.detect(
                [one[index] for one in logits], [one[index] for one in deltas], anchors
            )
            for index in range(len(pyramid[0]))
        ]


def require_finite(*tensors: Tensor) -> None:
    """Check that all numbers are finite.

    A NaN fails every comparison with a threshold, so without this it would read as "nothing
    found". The flags are combined first: one wait for the device, not one a tensor.

    Raises:
        FloatingPointError: A number is NaN or infinite.
    """
    if not bool(torch.stack([torch.isfinite(tensor).all() for tensor in tensors]).all()):
        raise FloatingPointError("the network's output is not finite")


def compute_exactly(network: RCNN) -> None:
    """Set the network to compute in the reference's own arithmetic, in place.

    It then uses Detectron2's operators in Detectron2's order on contiguous maps: on the same torch
    and device, each result has the bits of Detectron2's. What `prepare_for_inference` changes is
    left as it is: BatchNorm is computed, and no operator is replaced by one that rounds otherwise.
    """
    if network.architecture.detector == "dense":
        network.head.exact = True
    if network.architecture.detector != "rcnn":
        return
    network.roi_heads.exact = True
    if network.architecture.has_masks:
        network.roi_heads.mask_head.exact = True


def prepare_for_inference(network: RCNN, device: torch.device, *, compiled: bool = False) -> None:
    """Prepare the network for inference, in place; the numbers stay but for rounding.

    Every frozen BatchNorm is folded into the convolution before it. For a CPU all convolutions are
    oneDNN's, in one pass with what comes right after them; one with AVX-512 computes the first
    layer of the box head as a convolution, too.

    Args:
        network: With its weights loaded.
        device: Where it will compute.
        compiled: Whether torch.compile will fuse the operators instead.
    """
    for module in network.modules():
        if isinstance(module, NormedConv):
            module.fold()
    if device.type != "cpu":
        return
    for module in network.modules():
        if isinstance(module, BoxHead) and CONVOLVES_REGIONS:
            module.convolve_first()
    if compiled or not ONE_PASS_AVAILABLE:
        convolve_by_onednn(network)
    else:
        for module in network.modules():
            if isinstance(module, (Conv, Deconv)):
                module.one_pass = True


def convolve_by_onednn(network: RCNN) -> None:
    """Set oneDNN to compute 1×1 convolutions on a single CPU thread as well; the numbers stay.

    Otherwise torch leaves them to a routine of its own that takes twice as long, unless they are
    dilated (``use_mkldnn`` in its Convolution.cpp); dilation does not change a 1×1 kernel.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
            module.dilation = (2, 2)


def _round_up(length_px: int, divisor_px: int) -> int:
    return -(-length_px // divisor_px) * divisor_px


def tensor_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Return every key of the network's checkpoint and its shape; no tensor is allocated."""
    return dict(_shapes(architecture))


@lru_cache(maxsize=128)
def _shapes(architecture: Architecture) -> Mapping[str, tuple[int, ...]]:
    """Return what ``tensor_shapes`` copies: many models of the zoo share an architecture."""
    if architecture.torchvision is not None:
        from harness.nn.torchvision_networks import torchvision_shapes

        return torchvision_shapes(architecture)
    with torch.device("meta"), Unfilled():
        network = RCNN(architecture)
    return {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
