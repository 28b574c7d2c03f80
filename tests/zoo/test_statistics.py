"""Old files without statistics of frozen BatchNorm are read, and nothing else is made up."""

from __future__ import annotations

import numpy as np
import pytest

from harness.core.errors import IntegrityError
from harness.nn.rcnn import tensor_shapes
from harness.zoo.architectures import architecture_of
from harness.zoo.weights import account_for, missing_statistics


@pytest.mark.parametrize(
    ("name", "frozen"),
    [
        ("faster_rcnn_R_50_FPN", "backbone.bottom_up.res4.3.conv2.norm"),
        ("cascade_mask_rcnn_X_152_32x8d_FPN_IN5k_gn_dconv", "backbone.bottom_up.res4.3.conv2.norm"),
        ("mask_rcnn_R_50_C4", "roi_heads.res5.1.conv2.norm"),
        ("mask_rcnn_R_50_DC5", "backbone.res5.1.conv2.norm"),
        ("retinanet_R_101_FPN", "backbone.bottom_up.stem.conv1.norm"),
    ],
)
def test_a_file_of_detectron2s_first_versions_gets_its_statistics(name: str, frozen: str) -> None:
    expected = tensor_shapes(architecture_of(name))
    old = {
        key: np.broadcast_to(np.float32(2.0), shape)  # no memory, whatever the shape
        for key, shape in expected.items()
        if not key.endswith(("running_mean", "running_var"))
    }
    made = missing_statistics(old, expected)
    assert made.keys() == expected.keys() - old.keys()
    assert (made[f"{frozen}.running_mean"] == 0).all()
    assert (made[f"{frozen}.running_var"] == 1).all()
    assert {key: one.shape for key, one in made.items()} == {key: expected[key] for key in made}


def test_such_a_file_is_read() -> None:
    expected = tensor_shapes(architecture_of("faster_rcnn_R_50_FPN"))
    old = {
        key: np.full(shape, 2.0, dtype=np.float32)
        for key, shape in expected.items()
        if not key.endswith(("running_mean", "running_var"))
    }
    assert account_for(old, expected, where="FILE").keys() == expected.keys()


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
