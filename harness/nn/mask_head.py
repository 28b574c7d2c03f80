"""The mask head (Detectron2 ``modeling/roi_heads/mask_head.py``).

R regions, K classes, C channels, S pooled side in cells.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.core.architecture import Architecture
from harness.nn.boxes import at_least_float32
from harness.nn.convolution import Conv, Deconv
from harness.nn.normed import NormedConv


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
