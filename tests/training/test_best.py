"""The best evaluation, by AP and by loss."""

from __future__ import annotations

import pytest

from harness.training.log import Best, goodness

LOSSES = {"validation/total_loss": 0.7, "validation/loss_cls": 0.2}
SCORES = {"bbox/AP": 40.0, "segm/AP": 36.0, "bbox/AP50": 60.0}


def test_by_ap_it_is_the_mean_of_both_tasks() -> None:
    assert goodness("ap", LOSSES, SCORES) == pytest.approx(38.0)
    assert goodness("ap", LOSSES, {"bbox/AP50": 60.0}) == -1.0


def test_by_loss_less_is_better() -> None:
    worse = {"validation/total_loss": 0.8}
    assert goodness("loss", LOSSES, SCORES) > goodness("loss", worse, SCORES)


@pytest.mark.parametrize("best_by", ["ap", "loss"])
def test_the_first_evaluation_is_always_the_best_so_far(best_by: str) -> None:
    assert goodness(best_by, {"validation/total_loss": 1e9}, {}) > Best().value  # type: ignore[arg-type]
