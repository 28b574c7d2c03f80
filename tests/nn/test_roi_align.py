"""Regions pooled by weighted gather equal torchvision's kernel."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import roi_align

from harness.nn.roi_heads import pooled_regions


def boxes(count: int, seed: int) -> torch.Tensor:
    """(count, 5) regions of two images of 640 × 480 px: tiny, huge, thin, outside."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * torch.tensor([800.0, 640.0]) - 80
    size = torch.rand(count, 2, generator=generator).pow(3) * 700
    size[:4] = torch.tensor([[0.0, 0.0], [0.5, 300.0], [700.0, 0.1], [640.0, 480.0]])
    image = torch.randint(0, 2, (count, 1), generator=generator)
    return torch.cat((image, corner, corner + size), dim=1)


@pytest.mark.parametrize("side", [7, 14])
@pytest.mark.parametrize("stride_px", [4, 8, 16, 32])
def test_equal_to_torchvision(side: int, stride_px: int) -> None:
    generator = torch.Generator().manual_seed(stride_px)
    features = torch.randn(2, 5, 480 // stride_px, 640 // stride_px, generator=generator)
    rois = boxes(60, side)
    expected = roi_align(features, rois, side, spatial_scale=1 / stride_px, aligned=True)
    with torch.inference_mode():
        for layout in (torch.contiguous_format, torch.channels_last):
            found = pooled_regions(features.to(memory_format=layout), rois, side, stride_px)
            assert found.shape == expected.shape
            # Sampling places are sums of the same terms; one rounding at 160 cells is 1.5e-5.
            assert float((found - expected).abs().max()) < 5e-5


def test_no_regions_give_nothing() -> None:
    found = pooled_regions(torch.randn(1, 3, 8, 8), torch.zeros(0, 5), 7, 4)
    assert found.shape == (0, 3, 7, 7)


def test_gradients_flow_to_the_features() -> None:
    features = torch.randn(1, 3, 16, 16, requires_grad=True)
    pooled_regions(features, torch.tensor([[0.0, 4.0, 4.0, 40.0, 40.0]]), 7, 4).sum().backward()
    assert features.grad is not None
    assert float(features.grad.abs().sum()) > 0
