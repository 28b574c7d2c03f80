"""Box and mask heads on pooled regions (Detectron2 ``modeling/roi_heads``).

R regions, K classes, C channels, S pooled side in cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import batched_nms

from harness.core.architecture import Architecture
from harness.nn.boxes import apply_deltas, at_least_float32, clip, pyramid_levels
from harness.nn.convolution import Conv, Deconv
from harness.nn.fpn import STRIDES_PX
from harness.nn.keypoints import KeypointHead, located
from harness.nn.roi_align import pooled_regions


class RawDetections(NamedTuple):
    """One image's detections in the frame of the resized input, best first."""

    boxes: Tensor
    """(n, 4) float32, px."""

    scores: Tensor
    """(n,) float32, 0…1."""

    classes: Tensor
    """(n,) int64."""


def pool(
    pyramid: Sequence[Tensor], boxes: Sequence[Tensor], side: int, *, exact: bool = False
) -> Tensor:
    """Return pooled regions of all images' boxes, each from the level of its size (RoIAlign).

    Args:
        pyramid: p2 … p5 (p6 is used for proposals only).
        boxes: Per image (n, 4), px of the resized input.
        side: Cells of a pooled region in each direction.
        exact: By torchvision's kernel everywhere, into a contiguous tensor, as Detectron2 does.

    Returns:
        (R, C, side, side). Reduced precisions are pooled in float32; float64 stays.
    """
    everything = torch.cat(list(boxes))  # (R, 4)
    image = torch.cat([one.new_full((len(one), 1), index) for index, one in enumerate(boxes)])
    rois = torch.cat((image, everything), dim=1)  # (R, 5)
    levels = pyramid_levels(everything)  # (R,)
    counts = torch.bincount(levels - 2, minlength=4).tolist()  # the one wait for the device
    maps = [at_least_float32(features) for features in pyramid[:4]]
    channels = maps[0].shape[1]
    # Channels lie last, as the heads read them, unless the reference's layout is asked for.
    order = (0, 1, 2, 3) if exact else (0, 2, 3, 1)
    shape = (channels, side, side) if exact else (side, side, channels)
    pooled = maps[0].new_zeros((len(rois), *shape))
    by_level = levels.argsort(stable=True).split(counts)
    for features, stride, where in zip(maps, STRIDES_PX[:4], by_level, strict=True):
        if len(where):
            level_rois = rois[where].to(features.dtype)
            regions = pooled_regions(features, level_rois, side, stride, exact=exact)
            pooled.index_copy_(0, where, regions.permute(order))
    return pooled if exact else pooled.permute(0, 3, 1, 2)  # (R, C, side, side)


class BoxHead(nn.Module):
    """Fully connected layers on the flattened region."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        side = architecture.box_pool_px
        self.shape = (architecture.box_fc_channels[0], architecture.fpn_channels, side, side)
        channels = architecture.fpn_channels * side**2
        for index, width in enumerate(architecture.box_fc_channels, start=1):
            self.add_module(f"fc{index}", nn.Linear(channels, width))
            channels = width

    def convolve_first(self) -> None:
        """Replace the first layer by the equivalent convolution.

        It reads regions in their memory layout, and oneDNN's convolutions are fast on every CPU,
        which MKL's matrix products are not.
        """
        linear = cast(nn.Linear, self.get_submodule("fc1"))
        width, channels, side, _ = self.shape
        convolution = Conv(channels, width, side)
        convolution.weight = nn.Parameter(linear.weight.detach().view(self.shape))
        convolution.bias = linear.bias
        self.add_module("fc1", convolution)

    def forward(self, pooled: Tensor) -> Tensor:
        """Return the features of regions: (R, C, S, S) → (R, last width)."""
        hidden = pooled
        for layer in self.children():
            if isinstance(layer, Conv):
                hidden = layer(hidden, relu=True)
            else:
                hidden = F.relu(layer(hidden.flatten(start_dim=1)))
        return hidden.flatten(start_dim=1)  # (R, last width)


class BoxPredictor(nn.Module):
    """Class logits (background last) and one set of deltas a class."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        channels, classes = architecture.box_fc_channels[-1], architecture.class_count
        self.cls_score = nn.Linear(channels, classes + 1)
        self.bbox_pred = nn.Linear(channels, classes * 4)

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (R, K + 1) and deltas (R, 4K) of features (R, channels)."""
        return self.cls_score(hidden), self.bbox_pred(hidden)


class MaskHead(nn.Module):
    """3×3 convolutions, one deconvolution ×2 and a 1×1 with one channel a class."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.exact = False
        channels_in, channels = architecture.fpn_channels, architecture.mask_conv_channels
        self.conv_count = architecture.mask_conv_count
        for index in range(1, self.conv_count + 1):
            self.add_module(f"mask_fcn{index}", Conv(channels_in, channels, 3, padding=1))
            channels_in = channels
        self.deconv = Deconv(channels_in, channels, 2, stride=2)
        self.predictor = Conv(channels, architecture.class_count, 1)

    def features(self, pooled: Tensor) -> Tensor:
        """Return what the predictor sees: (R, C, S, S) → (R, C', 2S, 2S)."""
        hidden = pooled
        for index in range(1, self.conv_count + 1):
            hidden = self.get_submodule(f"mask_fcn{index}")(hidden, relu=True)
        return self.deconv(hidden)  # (R, C', 2S, 2S)

    def forward(self, pooled: Tensor) -> Tensor:
        """Return logits of all classes: (R, C, S, S) → (R, K, 2S, 2S)."""
        return self.predictor(self.features(pooled))

    def probabilities(self, pooled: Tensor, classes: Tensor) -> Tensor:
        """Return (R, 2S, 2S) float32 in 0…1, of each region's own class only; float64 stays."""
        return at_least_float32(self.own_class_logits(pooled, classes)).sigmoid()

    def own_class_logits(self, pooled: Tensor, classes: Tensor) -> Tensor:
        """Return the logits of one class a region.

        The predictor is a 1×1 convolution: one row of it a region gives the same numbers as all
        K rows followed by a selection, but for the last bit, for a K-th of the work.

        Args:
            pooled: (R, C, S, S).
            classes: (R,) class that each region is, or should be.

        Returns:
            (R, 2S, 2S).
        """
        hidden = self.features(pooled)  # (R, C', 2S, 2S)
        if self.exact:
            return self.predictor(hidden)[torch.arange(len(classes)), classes]
        rows = self.predictor.weight[classes, :, 0, 0]  # (R, C')
        logits = torch.bmm(rows[:, None], hidden.flatten(start_dim=2))[:, 0]  # (R, 2S·2S)
        bias = self.predictor.bias
        assert bias is not None  # a Conv2d's type allows none; this one is built with it
        logits = logits + bias[classes][:, None]  # (R, 2S·2S)
        side = hidden.shape[-1]
        return logits.view(-1, side, side)  # (R, 2S, 2S)


class RoIHeads(nn.Module):
    """Everything that happens to a proposal.

    Attributes:
        exact: Whether it computes in the reference's own arithmetic.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.exact = False
        self.architecture = architecture
        self.box_head = BoxHead(architecture)
        self.box_predictor = BoxPredictor(architecture)
        if architecture.has_masks:
            self.mask_head = MaskHead(architecture)
        if architecture.keypoint_count:
            self.keypoint_head = KeypointHead(architecture)

    def classify(
        self, pyramid: Sequence[Tensor], proposals: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return logits (R, K + 1) and deltas (R, 4K) for the proposals of all images.

        Args:
            pyramid: p2 … p6.
            proposals: Per image (n, 4), px of the resized input.
        """
        pooled = pool(pyramid, proposals, self.architecture.box_pool_px, exact=self.exact)
        dtype = self.box_predictor.cls_score.weight.dtype
        return self.box_predictor(self.box_head(pooled.to(dtype)))

    def detect(
        self, logits: Tensor, deltas: Tensor, proposals: Tensor, size: tuple[int, int]
    ) -> RawDetections:
        """Return the detections of one image: score cut, class-wise NMS, best N.

        Only boxes that pass the score cut are decoded; decoding is element-wise, so the result is
        the same.

        Args:
            logits: (R, K + 1), the background last.
            deltas: (R, 4K).
            proposals: (R, 4), px of the resized input.
            size: (height, width) of the image before padding, px.
        """
        numbers = self.architecture
        scores = F.softmax(at_least_float32(logits), dim=-1)[:, :-1]  # (R, K)
        regions, classes = torch.nonzero(scores > numbers.score_threshold, as_tuple=True)
        kept_scores = scores[regions, classes]  # (k,), pairs above the cut
        kept_deltas = deltas.view(len(deltas), -1, 4)[regions, classes]  # (k, 4)
        boxes = apply_deltas(kept_deltas, proposals[regions], numbers.box_delta_weights)
        boxes = clip(boxes, *size)
        best = batched_nms(boxes, kept_scores, classes, numbers.box_nms_iou)  # (survivors,)
        best = best[: numbers.max_detections]  # (n,)
        return RawDetections(boxes[best], kept_scores[best], classes[best])

    def masks(self, pyramid: Sequence[Tensor], detections: Sequence[RawDetections]) -> list[Tensor]:
        """Return per image (n, M, M) float32 mask probabilities in the frame of each box."""
        boxes = [one.boxes for one in detections]
        side = self.architecture.mask_pool_px
        if not sum(len(one) for one in boxes):
            return [one.new_zeros((0, 2 * side, 2 * side)) for one in boxes]
        pooled = pool(pyramid, boxes, side, exact=self.exact)  # (N, C, S, S), all images
        pooled = pooled.to(self.mask_head.predictor.weight.dtype)
        classes = torch.cat([one.classes for one in detections])
        soft = self.mask_head.probabilities(pooled, classes)  # (N, M, M)
        return list(soft.split([len(one) for one in boxes]))

    def keypoints(
        self, pyramid: Sequence[Tensor], detections: Sequence[RawDetections]
    ) -> list[Tensor]:
        """Return per image (n, K, 3): x, y in px of the resized input, and score (``located``)."""
        boxes = [one.boxes for one in detections]
        counts = [len(one) for one in boxes]
        if not sum(counts):
            return [one.new_zeros((0, self.architecture.keypoint_count, 3)) for one in boxes]
        heat = self.keypoint_heat(pyramid, boxes)
        return list(located(heat, torch.cat(boxes)).split(counts))

    def keypoint_heat(self, pyramid: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """Return (R, K, M, M) logits of the keypoints in all images' boxes."""
        pooled = pool(pyramid, boxes, self.architecture.keypoint_pool_px, exact=self.exact)
        heat: Tensor = self.keypoint_head(pooled.to(self.keypoint_head.score_lowres.weight.dtype))
        return heat
