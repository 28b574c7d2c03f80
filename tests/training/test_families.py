"""Every family is fine-tuned from a checkpoint of other classes, and what is left can be used."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.core.architecture import Architecture
from harness.core.errors import RunFailedError
from harness.core.progress import Silent
from harness.core.requests.training import TrainRequest
from harness.core.settings import replaced
from harness.engines.native import open_native
from harness.measure.timing import NULL_STOPWATCH
from harness.nn.fpn import FPN
from harness.training.dry_run import stand_in_data
from harness.training.group import train_in_processes
from harness.training.log import read_log
from harness.training.plan import Schedule
from harness.training.processes import World
from harness.training.run import run_training
from harness.training.setup import Setup, first_native_weights
from harness.training.weight_files import WEIGHTS_BEST
from harness.zoo.seeded import seeded_checkpoint
from harness.zoo.weights import read_checkpoint, write_checkpoint
from tests.composing import composed
from tests.golden import dense_losses, keypoint_losses
from tests.golden.cases import pictures_for
from tests.golden.families import TRAINED, narrow

CLASSES, ITERATIONS = 3, 4

#: One of each family; they are small enough for any CI.
NETWORKS = {
    **{name: narrow(name) for name in TRAINED},
    "retinanet": dense_losses.architecture(),
    "keypoint_rcnn": keypoint_losses.architecture(),
    "panoptic_fpn_R_50": narrow("panoptic_fpn_R_50"),
    "panoptic_fpn_R_101_dconv_cascade_gn": narrow("panoptic_fpn_R_101_dconv_cascade_gn"),
}


def own_classes(network: Architecture) -> Architecture:
    """The network with other classes; with other keypoints, where it has some."""
    if network.keypoint_count:
        return replace(network, keypoint_count=network.keypoint_count + 1)
    kinds_of_stuff = 6 if network.is_panoptic else 0
    return replace(network, class_count=CLASSES, semantic_classes=kinds_of_stuff)


def setup_of(network: Architecture, folder: Path, precision: str) -> Setup:
    fitted = own_classes(network)
    weights = folder / "weights.safetensors"
    write_checkpoint(weights, seeded_checkpoint(network))
    data = stand_in_data(folder, fitted)
    config = composed(
        TrainRequest, rois_per_image=32, freeze=2, threads=1, loaders=1, precision=precision
    )
    return Setup(
        folder=folder,
        config=config,
        identity={},
        architecture=fitted,
        training=data,
        validation=replace(data, images=data.images[:1]),
        schedule=Schedule(
            iterations=ITERATIONS,
            batch_size=2,
            learning_rate=1e-4,  # seeded predictors are far from silent
            steps=(),
            warmup=0,
            checkpoint_period=ITERATIONS,
        ),
        init_kind="model",
        init=weights,
    )


class AlwaysOne:
    """An evaluation that finds the same of all weights."""

    def __call__(self, *_: object) -> dict[str, float]:
        return {"bbox/AP": 1.0}

    def before(self, *_: object) -> None:
        """Nothing is drawn of these weights."""


def trained(setup: Setup) -> dict[str, np.ndarray]:
    """The weights that a training leaves."""
    run_training(
        setup,
        torch.device("cpu"),
        World(),
        progress=Silent(),
        evaluate=AlwaysOne(),
    )
    return read_checkpoint(setup.folder / WEIGHTS_BEST)


#: Those that take long; what they have of their own is in the recorded losses, too.
SLOW = (
    *("mask_rcnn_R_50_C4", "faster_rcnn_R_50_C4", "mask_rcnn_R_50_DC5", "mask_rcnn_R_50_FPN_GN"),
    *("mask_rcnn_R_50_FPN_dconv_c3-c5", "scratch_mask_rcnn_R_50_FPN_SyncBN"),
    *("panoptic_fpn_R_101_dconv_cascade_gn", "cascade_mask_rcnn_R_50_FPN", "fast_rcnn_R_50_FPN"),
    *("mask_rcnn_regnety_4gf_LSJ", "mask_rcnn_regnetx_4gf_LSJ", "mask_rcnn_X_101_32x8d_FPN"),
    *("mask_rcnn_R_50_FPN_LSJ", "cascade_mask_rcnn_X_152_32x8d_FPN_IN5k_gn_dconv"),
)


@pytest.mark.parametrize(
    "name",
    [pytest.param(one, marks=pytest.mark.slow if one in SLOW else ()) for one in NETWORKS],
)
def test_a_family_is_fine_tuned_on_other_classes(name: str, tmp_path: Path) -> None:
    setup = setup_of(NETWORKS[name], tmp_path, "fp32")
    network, initial = first_native_weights(setup)
    given = read_checkpoint(tmp_path / "weights.safetensors")
    fresh = {key.rsplit(".", 2)[-2] for key in initial.fresh}
    assert fresh <= {"cls_score", "bbox_pred", "predictor", "score_lowres"}
    assert fresh
    np.testing.assert_array_equal(network.state_dict()[initial.kept[0]], given[initial.kept[0]])
    found = trained(setup)
    losses = [line["total_loss"] for line in read_log(tmp_path) if "total_loss" in line]
    assert losses
    assert all(math.isfinite(one) for one in losses)
    assert found.keys() == network.state_dict().keys()
    stem = next(key for key in found if "stem." in key and key.endswith("weight"))
    np.testing.assert_array_equal(found[stem], given[stem])  # frozen
    moved = [key for key in found if not np.array_equal(found[key], network.state_dict()[key])]
    assert any("res4." in key or ".s3." in key for key in moved)
    assert any(key.startswith(("roi_heads.", "head.")) for key in moved)
    assert any(key.startswith("sem_seg_head.") for key in moved) == network.architecture.is_panoptic
    engine = open_native(
        architecture=replace(setup.architecture, score_threshold=0.0),
        weights=tmp_path / WEIGHTS_BEST,
        device="cpu",
        threads=1,
    )
    (answer,) = engine.infer(
        [engine.prepare(pictures_for(setup.architecture)[0], NULL_STOPWATCH)], NULL_STOPWATCH
    )
    assert len(answer) > 0
    assert answer.class_index.max() < setup.architecture.class_count


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory.\nmore"),
        RuntimeError("CUDA error: out of memory"),
    ],
)
def test_memory_that_runs_out_in_a_training_is_told_with_what_needs_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    plain = FPN.forward

    def forward(backbone: FPN, pixels: torch.Tensor) -> list[torch.Tensor]:
        if len(pixels) > 1:
            raise error
        return plain(backbone, pixels)

    monkeypatch.setattr(FPN, "forward", forward)
    setup = setup_of(NETWORKS["mask_rcnn_R_50_FPN_LSJ"], tmp_path, "fp32")
    said = "out of memory on cpu in iteration 1 with 2 images at once: CUDA"
    with pytest.raises(RunFailedError, match=said) as caught:
        trained(setup)
    assert "\n" not in caught.value.message
    assert "--accumulate 2" in str(caught.value.hint)


@pytest.mark.slow
def test_an_evaluation_changes_nothing_of_a_training_whose_network_has_batch_norm(
    tmp_path: Path,
) -> None:
    found = {}
    for every in (None, 1):
        folder = tmp_path / f"every {every}"
        folder.mkdir()
        setup = setup_of(NETWORKS["scratch_mask_rcnn_R_50_FPN_SyncBN"], folder, "fp32")
        config = replaced(setup.config, eval_every=every, deterministic=True)
        found[every] = trained(replace(setup, config=config))
    torch.use_deterministic_algorithms(False)
    for key, value in found[None].items():
        np.testing.assert_array_equal(value, found[1][key], err_msg=key)


@pytest.mark.slow
def test_batch_norm_of_two_processes_waits_for_none_in_an_evaluation(tmp_path: Path) -> None:
    setup = setup_of(NETWORKS["scratch_mask_rcnn_R_50_FPN_SyncBN"], tmp_path, "fp32")
    config = replaced(setup.config, eval_every=2, processes=2, device="cpu")
    train_in_processes(replace(setup, config=config), 2, progress=Silent, evaluate=AlwaysOne())
    lines = [line for line in read_log(tmp_path) if "validation/total_loss" in line]
    assert [line["iteration"] for line in lines] == [2, ITERATIONS]
