"""Classes of pixels are counted as Detectron2's SemSegEvaluator counts them."""

from __future__ import annotations

import numpy as np
import pytest

from harness.core.panoptic import UNKNOWN
from harness.measure.semantic import confusion, semantic_scores
from tests.golden.cases import read_golden
from tests.golden.semantic_quality import CASE, CLASSES, detectron2_numbers, maps


def numbers() -> dict[str, float | None]:
    counts = [confusion(*one) for one in maps()]
    return {
        name.removeprefix("sem_seg/"): value
        for name, value in semantic_scores(counts, CLASSES).metrics.items()
    }


def test_numbers_are_those_recorded_from_detectron2() -> None:
    assert numbers() == pytest.approx(read_golden(CASE), rel=1e-13)


@pytest.mark.filterwarnings("ignore")
def test_numbers_are_detectron2s() -> None:
    pytest.importorskip("detectron2", reason="Detectron2 is not installed")
    assert numbers() == pytest.approx(detectron2_numbers(), rel=1e-13)


def test_counts_have_every_known_pixel_once() -> None:
    for truth, found in maps():
        rows = confusion(truth, found)
        assert rows == sorted(rows)
        assert sum(pixels for *_, pixels in rows) == int((truth != UNKNOWN).sum())
        for known, answer, pixels in rows:
            assert pixels == int(((truth == known) & (found == answer)).sum())


def test_nothing_known_is_no_number() -> None:
    nothing = np.full((3, 4), UNKNOWN, dtype=np.uint8)
    assert confusion(nothing, np.zeros_like(nothing)) == []
    scores = semantic_scores([[]] * 8, CLASSES, resamples=4)
    assert set(scores.metrics.values()) == {None}
    assert scores.intervals == {}


def test_intervals_hold_the_numbers_and_the_images_draw_them() -> None:
    counts = [confusion(*one) for one in maps()]
    scores = semantic_scores(counts, CLASSES, resamples=200)
    assert scores.intervals.keys() == scores.metrics.keys()
    for name, value in scores.metrics.items():
        interval = scores.intervals[name]
        assert value is not None
        assert interval.low < value < interval.high
        # What moves a number is what the images say of it: leaving one out, by one over n.
        left = [
            semantic_scores(counts[:place] + counts[place + 1 :], CLASSES).metrics[name]
            for place in range(len(counts))
        ]
        jackknife = np.sqrt((len(left) - 1) * np.var(np.array(left, dtype=np.float64)))
        assert interval.standard_error == pytest.approx(jackknife, rel=0.5), name
