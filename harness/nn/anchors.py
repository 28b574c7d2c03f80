"""The anchors of a head, a grid of them on each map it reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from harness.nn.boxes import grid_anchors


class Anchored(nn.Module):
    """A part of a network that has anchors, beside layers of its own.

    Args:
        cells: Per map (A, 4) anchors of one cell around the origin, px of the input. They are
            computed from sizes and ratios, so no checkpoint has them.
        strides_px: Per map, pixels of the input in a cell.
    """

    def __init__(self, cells: Iterable[Tensor], strides_px: Sequence[int]) -> None:
        super().__init__()
        self.strides_px = tuple(strides_px)
        for level, cell in enumerate(cells):
            self.register_buffer(f"cell_anchors{level}", cell, persistent=False)

    def anchors(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Return per level (H·W·A, 4) in the order of the head's output, in px of the input."""
        cells = [self.get_buffer(f"cell_anchors{level}") for level in range(len(self.strides_px))]
        return [
            grid_anchors(cell, level.shape[-2], level.shape[-1], stride)
            for cell, level, stride in zip(cells, pyramid, self.strides_px, strict=True)
        ]
