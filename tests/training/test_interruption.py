"""When checkpoints are due, and signals during a training."""

from __future__ import annotations

import os
import signal

import pytest

from harness.core.errors import Interrupted
from harness.training.checkpoints import PERIOD_S, CheckpointClock
from harness.training.stop import Stop


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


def test_a_signal_is_remembered_and_the_old_handlers_come_back() -> None:
    stop, before = Stop(), signal.getsignal(signal.SIGUSR2)
    with stop.listening():
        assert stop.flags().tolist() == [0, 0]
        os.kill(os.getpid(), signal.SIGUSR2)
        assert stop.flags().tolist() == [0, 1]
    assert stop.name == "SIGUSR2"
    assert signal.getsignal(signal.SIGUSR2) is before


def test_a_warning_asks_once_for_a_checkpoint_and_never_stops() -> None:
    stop = Stop([signal.SIGTERM])
    with stop.listening(), stop.leaving_at_once("a test"):
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.flags().tolist() == [1, 0]
        assert stop.flags().tolist() == [0, 0]


def test_an_evaluation_is_left_at_once() -> None:
    stop, reached = Stop(), []

    def evaluate() -> None:
        with stop.leaving_at_once("the evaluation"):
            reached.append("begin")
            os.kill(os.getpid(), signal.SIGUSR1)
            reached.append("end")

    with stop.listening():
        for _ in range(2):  # told once, it does not begin another
            with pytest.raises(Interrupted, match="stopped by SIGUSR1 in the evaluation"):
                evaluate()
    assert reached == ["begin"]
