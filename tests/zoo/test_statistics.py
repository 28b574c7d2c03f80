"""Old files without statistics of frozen BatchNorm are read, and nothing else is made up."""

from __future__ import annotations

import numpy as np
import pytest

from harness.core.errors import IntegrityError
from harness.nn.rcnn import tensor_shapes
from harness.zoo.architectures import architecture_of
from harness.zoo.weights import account_for


def test_a_file_of_detectron2s_first_versions_gets_its_statistics() -> None:
    expected = tensor_shapes(architecture_of("faster_rcnn_R_50_FPN"))
    old = {
        key: np.full(shape, 2.0, dtype=np.float32)
        for key, shape in expected.items()
        if not key.endswith(("running_mean", "running_var"))
    }
    tensors = account_for(old, expected, where="FILE")
    assert (tensors["backbone.bottom_up.res4.3.conv2.norm.running_mean"] == 0).all()
    assert (tensors["backbone.bottom_up.res4.3.conv2.norm.running_var"] == 1).all()


def test_some_missing_statistics_are_a_fault() -> None:
    expected = tensor_shapes(architecture_of("faster_rcnn_R_50_FPN"))
    gone = "backbone.bottom_up.res4.3.conv2.norm.running_mean"
    some = {key: np.ones(shape, dtype=np.float32) for key, shape in expected.items() if key != gone}
    with pytest.raises(IntegrityError, match=f"1 missing: {gone}"):
        account_for(some, expected, where="FILE")


def test_statistics_that_were_trained_are_never_made_up() -> None:
    expected = tensor_shapes(architecture_of("mask_rcnn_R_50_FPN_SyncBN"))
    without = {
        key: np.ones(shape, dtype=np.float32)
        for key, shape in expected.items()
        if not key.endswith(("running_mean", "running_var"))
    }
    with pytest.raises(IntegrityError, match="missing"):
        account_for(without, expected, where="FILE")
