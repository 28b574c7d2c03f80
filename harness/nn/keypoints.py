"""Keypoint head, and where its heat is highest (Detectron2 ``roi_heads/keypoint_head.py``).

R regions, K keypoints, C channels, S pooled side in cells.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.core.architecture import Architecture
from harness.nn.boxes import at_least_float32
from harness.nn.convolution import Conv

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
