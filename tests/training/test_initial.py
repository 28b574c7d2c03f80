"""What a training may begin with: old files are completed, others named for what they are."""

from __future__ import annotations

import numpy as np
import pytest

from harness.core.errors import IntegrityError
from harness.nn.rcnn import RCNN
from harness.training.initial import load_matching
from harness.zoo.architectures import architecture_of
from harness.zoo.seeded import seeded_checkpoint
from tests.golden.dense_losses import architecture as small_retinanet
from tests.golden.families import narrow

STATISTICS = ("running_mean", "running_var")


def test_a_file_of_detectron2s_first_versions_is_begun_with() -> None:
    architecture = narrow("mask_rcnn_R_50_C4")
    network = RCNN(architecture)
    whole = seeded_checkpoint(architecture)
    old = {key: value for key, value in whole.items() if not key.endswith(STATISTICS)}
    assert len(old) < len(whole)
    loaded = load_matching(network, old, where="old.pkl")
    assert loaded.fresh == ()
    assert set(loaded.kept) == set(whole)
    found = {key: value.numpy() for key, value in network.state_dict().items()}
    for key in whole:
        expected = {"running_mean": 0.0, "running_var": 1.0}.get(key.rpartition(".")[2])
        assert (found[key] == (whole[key] if expected is None else expected)).all(), key


def test_a_checkpoint_of_another_family_is_named() -> None:
    network = RCNN(architecture_of("mask_rcnn_R_50_FPN"))
    given = small_retinanet()
    with pytest.raises(IntegrityError, match="does not fit the model") as caught:
        load_matching(network, seeded_checkpoint(given), where="other.pkl")
    assert "is a checkpoint of RetinaNet" in str(caught.value.hint)
    assert "the model is Mask R-CNN R50-FPN" in str(caught.value.hint)


def test_a_file_of_caffe2_is_named() -> None:
    given = {"conv1_w": np.ones((64, 3, 7, 7), np.float32), "cls_score_w": np.ones(1, np.float32)}
    with pytest.raises(IntegrityError, match="does not fit the model") as caught:
        load_matching(RCNN(narrow("rpn_R_50_FPN")), given, where="model_final.pkl")
    assert "a detector of Detectron" in str(caught.value.hint)
