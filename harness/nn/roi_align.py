"""RoIAlign (aligned, adaptive sampling), for a CPU without gradients as one weighted gather.

torchvision's kernel runs on one CPU thread and reads each cell once a sample. The same sum, written
as one list of (cell, weight) a bin, is what PyTorch's embedding bag computes on all cores.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import roi_align


def pooled_regions(
    features: Tensor, rois: Tensor, side: int, stride_px: int, *, exact: bool = False
) -> Tensor:
    """Pooled regions of one level.

    Args:
        features: (B, C, H, W), float32 or float64.
        rois: (R, 5) of the same dtype: image index, and box in px of the input.
        side: Cells of a pooled region in each direction.
        stride_px: Pixels of the input in a cell of ``features``.
        exact: By torchvision's kernel on a CPU, too, which sums in the reference's order.

    Returns:
        (R, C, side, side) of the dtype of ``features``.
    """
    if exact or features.device.type != "cpu" or features.requires_grad:
        return roi_align(features, rois, side, spatial_scale=1 / stride_px, aligned=True)
    _, channels, height, width = features.shape
    # No copy when channels are last. Else, cells whose numbers lie apart are gathered far slower.
    cells = features.permute(0, 2, 3, 1).reshape(-1, channels).contiguous()
    image = rois[:, 0].to(torch.int64)
    boxes = rois[:, 1:] * (1 / stride_px) - 0.5
    rows, down = _weights(boxes[:, 1], boxes[:, 3], side, height)  # (R, side, K)
    columns, across = _weights(boxes[:, 0], boxes[:, 2], side, width)  # (R, side, L)
    rows = rows + image[:, None, None] * height
    index = rows[:, :, None, :, None] * width + columns[:, None, :, None, :]
    weight = down[:, :, None, :, None] * across[:, None, :, None, :]  # (R, side, side, K, L)
    terms = rows.shape[2] * columns.shape[2]
    bins = F.embedding_bag(
        index.reshape(-1, terms), cells, mode="sum", per_sample_weights=weight.reshape(-1, terms)
    )
    return bins.view(len(rois), side, side, channels).permute(0, 3, 1, 2)  # (R, C, side, side)


def _weights(start: Tensor, end: Tensor, side: int, length: int) -> tuple[Tensor, Tensor]:
    """Return what each bin takes of the cells of one axis.

    A bin is the mean of equally spaced samples at most one cell apart, each read by linear
    interpolation; samples more than a cell outside the axis count as zero (torchvision's
    ``roi_align_common.h``).

    Args:
        start: (R,) first end of the regions, in cells.
        end: (R,) their other end.
        side: Bins a region.
        length: Cells of the axis.

    Returns:
        Cells (R, side, K) int64, and their weights (R, side, K).
    """
    size = (end - start) / side  # of a bin, in cells
    count = size.ceil()  # samples a bin; none in a region without extent
    most = int(count.max()) if len(count) else 0
    bins = torch.arange(side, dtype=start.dtype)
    samples = torch.arange(most, dtype=start.dtype)
    first = start[:, None, None] + bins[:, None] * size[:, None, None]
    divisor = count.clamp(min=1)
    places = first + (samples + 0.5) * (size / divisor)[:, None, None]  # (R, side, most)
    counted = (samples < count[:, None, None]) & (places >= -1) & (places <= length)
    places = places.clamp(0, length - 1)
    lowest = first.clamp(0, length - 1).floor()
    reach = torch.arange(most + 2, dtype=start.dtype)
    cells = (lowest + reach).clamp(max=length - 1)  # (R, side, K)
    tents = (1 - (places[..., None] - (lowest + reach)[:, :, None]).abs()).clamp(min=0)
    weights = (tents * counted[..., None]).sum(dim=2) / divisor[:, None, None]
    return cells.to(torch.int64), weights
