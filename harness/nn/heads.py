"""The heads on regions: classes and boxes, masks, keypoints (Detectron2 ``modeling/roi_heads``).

R regions, K classes or keypoints, C channels, S pooled side in cells.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.core.architecture import Architecture
from harness.nn.boxes import at_least_float32
from harness.nn.convolution import Conv, Deconv
from harness.nn.normed import NormedConv

#: Whether a convolution over regions is as fast as the matrix product that it equals. With AVX2
#: alone oneDNN's takes 13 times as long: 4.2 s for 1000 regions on one core of an EPYC (family 25,
#: model 1), where the product takes 0.33 s.
CONVOLVES_REGIONS = torch.backends.cpu.get_cpu_capability() == "AVX512"


class BoxHead(nn.Module):
    """3×3 convolutions where there are any, and fully connected layers on the flattened region."""

    def __init__(self, architecture: Architecture, channels_in: int) -> None:
        super().__init__()
        side = architecture.box_pool_px
        norm, eps = architecture.head_norm, architecture.batch_norm_eps
        for index in range(1, architecture.box_conv_count + 1):
            width = architecture.box_conv_channels
            self.add_module(f"conv{index}", NormedConv(channels_in, width, 3, norm=norm, eps=eps))
            channels_in = width
        self.shape = (architecture.box_fc_channels[0], channels_in, side, side)
        channels = channels_in * side**2
        for index, width in enumerate(architecture.box_fc_channels, start=1):
            self.add_module(f"fc{index}", nn.Linear(channels, width))
            channels = width

    def convolve_first(self) -> None:
        """Replace the first fully connected layer by the equivalent convolution.

        It reads regions in their memory layout, and with AVX-512 oneDNN's convolutions are fast on
        every CPU, which MKL's matrix products are not.
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
    """Class logits (background last) and deltas: one set a class, in a cascade one for all."""

    def __init__(self, architecture: Architecture, channels: int) -> None:
        super().__init__()
        classes = architecture.class_count
        self.cls_score = nn.Linear(channels, classes + 1)
        self.bbox_pred = nn.Linear(channels, 4 if architecture.is_cascade else classes * 4)

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (R, K + 1) and deltas (R, 4K) or (R, 4) of features (R, channels)."""
        return self.cls_score(hidden), self.bbox_pred(hidden)


class MaskHead(nn.Module):
    """3×3 convolutions, one deconvolution ×2 and a 1×1 with one channel a class."""

    def __init__(self, architecture: Architecture, channels_in: int) -> None:
        super().__init__()
        self.exact = False
        channels = architecture.mask_conv_channels
        norm, eps = architecture.head_norm, architecture.batch_norm_eps
        self.conv_count = architecture.mask_conv_count
        for index in range(1, self.conv_count + 1):
            convolution = NormedConv(channels_in, channels, 3, norm=norm, eps=eps)
            self.add_module(f"mask_fcn{index}", convolution)
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


#: The deconvolution: kernel, and the padding that makes it double the side.
DECONV_KERNEL, DECONV_PADDING = 4, 1


class KeypointHead(nn.Module):
    """3×3 convolutions, one deconvolution ×2 to a channel a keypoint, then bilinear ×2.

    Attributes:
        conv_count: How many convolutions there are.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        channels_in = architecture.fpn_channels
        self.conv_count = len(architecture.keypoint_conv_channels)
        for index, channels in enumerate(architecture.keypoint_conv_channels, start=1):
            self.add_module(f"conv_fcn{index}", Conv(channels_in, channels, 3, padding=1))
            channels_in = channels
        self.score_lowres = nn.ConvTranspose2d(
            channels_in,
            architecture.keypoint_count,
            DECONV_KERNEL,
            stride=2,
            padding=DECONV_PADDING,
        )

    def forward(self, pooled: Tensor) -> Tensor:
        """Return the heat of regions, logits: (R, C, S, S) → (R, K, 4S, 4S)."""
        hidden = pooled
        for index in range(1, self.conv_count + 1):
            hidden = self.get_submodule(f"conv_fcn{index}")(hidden, relu=True)
        heat = at_least_float32(self.score_lowres(hidden))  # (R, K, 2S, 2S)
        return F.interpolate(heat, scale_factor=2.0, mode="bilinear", align_corners=False)


def located(heat: Tensor, boxes: Tensor) -> Tensor:
    """Return where the heat of each keypoint is highest.

    The heat of a region is sampled at every pixel of its box (bicubic), and a keypoint is in the
    middle of the hottest one. Its score is what a softmax over the cells of the region's grid gives
    for that heat, so that boxes of any size can be compared: it may exceed one, and be 0 where a
    cell that no pixel samples is far hotter.

    Args:
        heat: (R, K, M, M) logits, float32 or float64.
        boxes: (R, 4), px of the resized input.

    Returns:
        (R, K, 3): x and y in px of the resized input, 0.5 being the middle of the first pixel, and
        the score, at least 0.
    """
    found = heat.new_zeros((*heat.shape[:2], 3))
    widths = (boxes[:, 2] - boxes[:, 0]).clamp(min=1)
    heights = (boxes[:, 3] - boxes[:, 1]).clamp(min=1)
    across, down = widths.ceil(), heights.ceil()
    sizes = torch.stack((down, across), dim=1).long().tolist()  # the one wait for the device
    for row, (height, width) in enumerate(sizes):
        full = F.interpolate(
            heat[row : row + 1], size=(height, width), mode="bicubic", align_corners=False
        )[0]  # (K, height, width)
        highest, place = full.flatten(1).max(1)  # (K,) each
        total = (heat[row] - highest[:, None, None]).exp().sum((1, 2))
        found[row, :, 2] = (1 / total).clamp(max=torch.finfo(heat.dtype).max)
        x, y = place % width, torch.div(place, width, rounding_mode="floor")
        found[row, :, 0] = (x + 0.5) * (widths[row] / across[row]) + boxes[row, 0]
        found[row, :, 1] = (y + 0.5) * (heights[row] / down[row]) + boxes[row, 1]
    return found
