"""The time of a diagnosis, and what would have no room with millions of rows."""

from __future__ import annotations

import numpy as np
import pytest

from harness.diagnosis import overlaps
from harness.diagnosis.case import Case, rows_of, truth_of
from harness.diagnosis.time_limit import OutOfTimeError, Pace
from harness.measure.greedy import box_ious


def test_a_step_is_not_begun_that_would_not_fit() -> None:
    now = [0.0]
    pace = Pace(deadline=10.0, clock=lambda: now[0])
    for step_s in (1.0, 3.0, 1.0):
        now[0] += step_s
        pace.look()
    assert pace.longest_s == 3.0
    assert pace.seconds_left == 5.0
    with pytest.raises(OutOfTimeError):  # 5 + 3 s fit, and 2.5 s more do not
        pace.look(after_s=2.5)
    now[0] = 7.5
    with pytest.raises(OutOfTimeError):
        pace.look()


def test_suppression_in_blocks_keeps_what_it_keeps_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(2)
    images = [
        {"id": one, "height": 60, "width": 60, "file_name": f"{one}.jpg"} for one in range(1, 6)
    ]
    categories = [{"id": one, "name": f"c{one}"} for one in range(1, 4)]
    rows = [
        {
            "image_id": int(random.integers(1, 6)),
            "category_id": int(random.integers(1, 4)),
            "bbox": [*random.uniform(0, 20, 2).tolist(), *random.uniform(10, 30, 2).tolist()],
            "score": float(random.integers(0, 20)) / 20,
        }
        for _ in range(300)
    ]
    content = {"images": images, "categories": categories, "annotations": []}
    case = Case(rows=rows_of(rows), truth=truth_of(content, ("bbox",)))
    at_once = overlaps.suppressed(case, 0.5)
    assert (at_once == _one_after_the_other(case, 0.5)).all()
    assert 0 < at_once.sum() < 300
    every = np.ones(5, dtype=bool)
    pairs = overlaps.overlaps_of(case, every, least=0.3)
    monkeypatch.setattr(overlaps, "BLOCK_PAIRS", 50)
    assert (overlaps.suppressed(case, 0.5) == at_once).all()
    blocks = overlaps.overlaps_of(case, every, least=0.3)
    assert len(pairs.worse) > 50
    for name in ("better", "worse", "iou", "same"):
        assert (getattr(blocks, name) == getattr(pairs, name)).all()


def _one_after_the_other(case: Case, threshold: float) -> np.ndarray:
    """(N,) what suppression keeps, by its definition."""
    rows, kept = case.rows, np.zeros(len(case.rows), dtype=bool)
    for one in np.argsort(-rows.score, kind="stable").tolist():
        others = np.flatnonzero(
            kept
            & (rows.image_id == rows.image_id[one])
            & (rows.category_id == rows.category_id[one])
        )
        mine = np.repeat(rows.boxes[[one]], len(others), axis=0)
        overlap = box_ious(mine, rows.boxes[others], np.zeros(len(others), dtype=bool))
        kept[one] = not (overlap > threshold).any()
    return kept
