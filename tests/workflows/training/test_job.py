"""What a training makes of its settings before anything is computed."""

from __future__ import annotations

import pytest

from harness.core.errors import UsageError
from harness.core.requests.training import TrainRequest
from harness.data.categories import COCO_CATEGORIES
from harness.workflows.training.job import trained_architecture
from harness.zoo.architectures import architecture_of
from tests.composing import composed


def test_a_training_whose_weights_would_be_refused_is_not_begun() -> None:
    published = architecture_of("mask_rcnn_R_50_FPN")
    for short_px, allowed in ((12_000, True), (12_004, False), (20_000, False)):
        request = composed(TrainRequest, short_edge_px=short_px)
        if allowed:
            found = trained_architecture(published, request, COCO_CATEGORIES)
            assert (found.short_edge_px, found.long_edge_max_px) == (12_000, 19_995)
            continue
        with pytest.raises(UsageError, match="may state 20,000 px at most") as refused:
            trained_architecture(published, request, COCO_CATEGORIES)
        assert refused.value.hint == "give less with --short-edge"
