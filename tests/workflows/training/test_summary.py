"""What the summary of a training says of its losses."""

from __future__ import annotations

import pytest

from harness.workflows.training.summary import train_loss


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([], None),
        ([2.0], (None, 2.0)),
        ([2.0, 1.6], (2.0, 1.6)),
        ([2.0, 1.8, 1.6], (2.0, 1.6)),
        ([4.0, 3.0, 2.0, 1.0], (3.5, 1.5)),
        ([9.0, 5.0, 4.0, 3.0, 2.0, 8.0], (5.0, 3.0)),
        ([9.0, 5.0, 4.0, 7.0, 3.0, 2.0, 8.0], (5.0, 3.0)),
    ],
)
def test_the_first_losses_of_a_short_log_are_not_the_last_ones_too(
    losses: list[float], expected: tuple[float | None, float] | None
) -> None:
    lines = [{"iteration": 20 * number, "total_loss": one} for number, one in enumerate(losses, 1)]
    assert train_loss([*lines, {"iteration": 20, "bbox/AP": 1.0}]) == expected
