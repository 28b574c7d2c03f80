"""Pictures side by side."""

from __future__ import annotations

import numpy as np

from harness.visualization.panels import side_by_side


def test_pictures_stand_beside_each_other_under_captions() -> None:
    first = np.full((50, 80, 3), (10, 20, 30), dtype=np.uint8)
    second = np.full((50, 80, 3), (200, 100, 50), dtype=np.uint8)
    whole = side_by_side([("first", first), ("second", second)])
    assert whole.shape[0] > 50
    assert whole.shape[1] > 160
    assert (whole[-50:, :80] == first).all()
    assert (whole[-50:, -80:] == second).all()
    assert whole[:-50].std() > 0
