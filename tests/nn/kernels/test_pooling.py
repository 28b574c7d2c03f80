from __future__ import annotations

import pytest
import torch
from torchvision.ops import roi_align

pytest.importorskip("triton", reason="Triton is not installed: pip install triton")

from harness.nn.boxes import pyramid_levels
from harness.nn.kernels.pooling import pooled_from_levels

SIZES = ((24, 40), (12, 20), (6, 10), (3, 5))


@pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.float16, marks=pytest.mark.slow)]
)
def test_regions_are_torchvisions(dtype: torch.dtype, device: torch.device) -> None:
    drawn = torch.Generator().manual_seed(4)
    maps = [torch.randn((2, 5, *size), generator=drawn).to(dtype) for size in SIZES]
    boxes = torch.tensor(
        [
            [[3.3, 5.1, 40.7, 60.2], [0.0, 0.0, 160.0, 96.0], [-9.0, -7.0, 12.0, 30.0]],
            [[20.0, 20.0, 20.0, 44.0], [100.0, 50.0, 171.0, 140.0], [0.0, 0.0, 700.0, 800.0]],
        ]
    )
    levels = torch.tensor([[2, 4, 3], [2, 3, 5]])
    found = pooled_from_levels(
        [one.to(device).to(memory_format=torch.channels_last) for one in maps],
        boxes.to(device),
        levels.to(device),
        3,
        torch.float32,
    ).cpu()
    assert found.shape == (6, 5, 3, 3)
    for row, (level, box) in enumerate(
        zip(levels.flatten().tolist(), boxes.flatten(0, 1), strict=True)
    ):
        features = maps[level - 2].float()
        rois = torch.cat((torch.tensor([row // 3]), box))[None]
        expected = roi_align(features, rois, 3, spatial_scale=2.0**-level, aligned=True)[0]
        torch.testing.assert_close(found[row], expected, rtol=1e-6, atol=1e-6)


def test_maps_of_another_layout_are_refused(device: torch.device) -> None:
    maps = [torch.zeros((1, 5, *size), device=device) for size in SIZES]
    boxes = torch.tensor([[[0.0, 0.0, 8.0, 8.0]]], device=device)
    with pytest.raises(ValueError, match="channels last"):
        pooled_from_levels(maps, boxes, pyramid_levels(boxes[0])[None], 3, torch.float32)
