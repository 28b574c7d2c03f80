"""The kernels as the operators of ``nn.slots``."""

from __future__ import annotations

from harness.nn.kernels.outlines import outlines
from harness.nn.kernels.pooling import pooled_from_levels
from harness.nn.kernels.runs import characters
from harness.nn.kernels.suppression import first_survivors, kept_in_segments


class TritonOperators:
    """Implements ``nn.slots.SlotOperators``."""

    kept_in_segments = staticmethod(kept_in_segments)
    first_survivors = staticmethod(first_survivors)
    pooled_from_levels = staticmethod(pooled_from_levels)
    outlines = staticmethod(outlines)
    characters = staticmethod(characters)
