"""When checkpoints are due."""

from __future__ import annotations

from harness.training.saving import PERIOD_S, CheckpointClock


def test_a_checkpoint_needs_time_and_iterations() -> None:
    now = [0.0]
    clock = CheckpointClock(None, 0, lambda: now[0])
    now[0] = PERIOD_S + 1
    assert not clock.is_due(99)  # slow iterations
    assert clock.is_due(100)
    clock.saved(100)
    assert not clock.is_due(1000)  # fast ones
    now[0] += PERIOD_S
    assert not clock.is_due(199)
    assert clock.is_due(200)


def test_iterations_that_are_set_count_alone() -> None:
    clock = CheckpointClock(50, 0, lambda: 0.0)
    assert [iteration for iteration in range(1, 200) if clock.is_due(iteration)] == [50, 100, 150]
