"""What a dense head remembers of a training comes back with its checkpoint."""

from __future__ import annotations

from harness.nn.dense import MEAN_POSITIVES, mean_positives_of, remember_mean_positives
from harness.nn.rcnn import RCNN
from harness.zoo.architectures import tiny
from tests.golden.dense_losses import architecture


def test_a_dense_head_remembers_and_others_have_nothing_to() -> None:
    dense, regional = RCNN(architecture()), RCNN(tiny())
    assert mean_positives_of(dense) == MEAN_POSITIVES
    remember_mean_positives(dense, 42.5)
    assert mean_positives_of(dense) == 42.5
    remember_mean_positives(dense, None)  # of a checkpoint before there were dense heads
    assert mean_positives_of(dense) == 42.5
    remember_mean_positives(regional, 42.5)
    assert mean_positives_of(regional) is None
