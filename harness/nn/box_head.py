"""The box head and its predictor (Detectron2 ``modeling/roi_heads/box_head.py``, ``fast_rcnn.py``).

R regions, K classes, C channels, S pooled side in cells.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.core.architecture import Architecture
from harness.nn.convolution import Conv
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
