"""The models beside the zoo's, as users meet them: trained, evaluated, timed, compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torchvision.models import mobilenet_v2

from harness.files.layout import LOCK_NAME
from harness.zoo.lock import find_artefact, read_lock
from tests.end_to_end.conftest import Answer
from tests.panoptic_data import write_panoptic_data

LIGHT = "MobileNetV2_FPNLite_3x"
#: A file as other programs call their best weights.
BEST = "Best.pth.tar"

THEIRS = "torchvision_fasterrcnn_mobilenet_v3_large_fpn"
QUICK = ("--short-edge", "64", "--device", "cpu", "--threads", "1")


@pytest.fixture
def training(small_coco: Path) -> list[str]:
    annotations, images = str(small_coco / "annotations.json"), str(small_coco / "images")
    return [
        *("--train-annotations", annotations, "--train-images", images),
        *("--val-annotations", annotations, "--val-images", images),
        *("--iterations", "2", "--batch-size", "2", "--rois-per-image", "16", *QUICK),
    ]


@pytest.fixture
def imagenet(project: Path) -> Path:
    """torchvision's file as it would lie there after a download, pinned by the project's lock."""
    artefact = find_artefact(read_lock(), "torchvision/mobilenet_v2")
    path = project / "datasets" / artefact.path
    path.parent.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(mobilenet_v2(weights=None).state_dict(), path)
    lock = project / LOCK_NAME
    prefix = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    text = lock.read_text(encoding="utf-8").replace(f'"{artefact.sha256_prefix}"', f'"{prefix}"')
    lock.write_text(text, encoding="utf-8")
    return path


@pytest.mark.slow
def test_a_light_network_trains_from_imagenet_and_is_compared(
    harness: Callable[..., Answer],
    training: list[str],
    on_small: list[str],
    imagenet: Path,
    project: Path,
) -> None:
    answer = harness("train", "--model", LIGHT, *training, "--output", "light")
    assert answer.code == 0, answer.err
    assert "255 of 297 tensors are kept" in answer.err
    weights = project / "light" / "model_last.safetensors"
    stem = "backbone.bottom_up.stem.conv1.weight"
    before = torch.load(imagenet)["features.0.0.weight"].numpy()
    assert (load_file(weights)[stem] != before).any(), "the recipe freezes no stage"
    again = harness("eval", "--model", LIGHT, "--weights", weights, *on_small, *QUICK)
    assert again.code == 0, again.err
    heavy = harness("train", "--model", "tiny", "--init", "none", *training, "--output", "heavy")
    assert heavy.code == 0, heavy.err
    runs = [project / name / "evaluations" / "iteration-0000002" for name in ("light", "heavy")]
    compared = harness("compare", *runs, "--json")
    assert compared.code in (0, 1), compared.err
    assert "bbox/AP" in compared.out


def test_a_damaged_backbone_is_no_backbone(
    harness: Callable[..., Answer], training: list[str], imagenet: Path
) -> None:
    imagenet.write_bytes(imagenet.read_bytes()[:-1])
    answer = harness("train", "--model", LIGHT, *training)
    assert answer.code == 4
    assert "harness download --only backbones" in answer.err


@pytest.mark.slow
def test_torchvisions_network_on_classes_of_ones_own(
    harness: Callable[..., Answer], on_small: list[str], project: Path
) -> None:
    from dataclasses import replace

    from harness.zoo.architectures import of_torchvision
    from harness.zoo.seeded import seeded_checkpoint
    from harness.zoo.weights import write_checkpoint

    network = of_torchvision("fasterrcnn_mobilenet_v3_large_fpn", has_masks=False)
    write_checkpoint(
        project / "own.safetensors", seeded_checkpoint(replace(network, class_count=8))
    )
    given = ["--model", THEIRS, "--weights", "own.safetensors", *on_small, *QUICK]
    answer = harness("eval", *given, "--output", "run")
    assert answer.code == 0, answer.err
    record = json.loads((project / "run" / "record.json").read_text("utf-8"))
    assert record["engine"]["name"] == record["resolved"]["engine"] == "torchvision"
    assert "segm/AP" not in record["metrics"]
    timed = harness(
        "bench", *given, "--limit", "1", "--repeats", "1", "--min-duration", "0", "--profile"
    )
    assert timed.code == 0, timed.err
    refused = harness("eval", *given, "--engine", "native")
    assert refused.code == 2
    assert "leave out --engine, or choose --engine torchvision" in refused.err
    untrainable = harness("train", "--model", THEIRS)
    assert untrainable.code == 2
    assert "give --init zoo" in untrainable.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "repair"),
    [
        (("train", "--init", "none", "--engine", "detectron2"), "  leave out --engine\n"),
        (
            ("parity", "--images", "panoptic"),
            "  compare it with an exported file: --against onnx or",
        ),
        (("eval", "--exact"), "  leave out --exact\n"),
        (("eval", "--compile"), "  leave out --compile\n"),
        (("bench", "--memory-format", "channels_last"), "  leave out --memory-format\n"),
    ],
)
def test_torchvisions_network_is_offered_no_engine_that_cannot_compute_it(
    words: tuple[str, ...],
    repair: str,
    harness: Callable[..., Answer],
    embedded_root: Path,
    project: Path,
) -> None:
    images = write_panoptic_data(project, images=1, root=embedded_root)
    pair = {"annotations": project / "instances.json", "images": images}
    sets = {"train": ("train-", "val-"), "parity": ()}.get(words[0], ("",))
    data = [
        word for each in sets for name, one in pair.items() for word in (f"--{each}{name}", one)
    ]
    if words[0] in ("eval", "bench"):
        (project / "unread.safetensors").write_bytes(b"refused before it is read")
        data = [*data, "--weights", "unread.safetensors"]
    answer = harness(words[0], "--model", THEIRS, *words[1:], *data)
    assert answer.code == 2, answer.err
    assert repair in answer.err


def test_a_network_of_torchvision_is_fine_tuned_stopped_and_continued(
    harness: Callable[..., Answer], on_small: list[str], project: Path
) -> None:

    from harness.training.log import read_log
    from harness.zoo.architectures import of_torchvision
    from harness.zoo.seeded import seeded_checkpoint

    # The layout in which a training of one's own keeps its best weights, for COCO's 91 labels.
    tensors = seeded_checkpoint(
        of_torchvision("fasterrcnn_mobilenet_v3_large_fpn", has_masks=False)
    )
    table = {key: torch.from_numpy(value) for key, value in tensors.items()}
    torch.save({"state_dict": table, "optimizer": {"state": {}, "param_groups": []}}, BEST)
    annotations, images = on_small[1], on_small[3]
    words = ["train", "--model", THEIRS, "--init", BEST, "--device", "cpu", "--threads", "1"]
    words += ["--train-annotations", annotations, "--train-images", images]
    words += ["--val-annotations", annotations, "--val-images", images, "--short-edge", "96"]
    words += ["--optimiser", "adamw", "--augment", "strong", "--best-by", "loss"]
    words += ["--iterations", "4", "--batch-size", "2", "--eval-every", "2", "--deterministic"]
    answer = harness(*words, "--output", "run")
    assert answer.code == 0, answer.err
    assert "these begin at random: roi_heads.box_predictor.bbox_pred" in answer.err
    lines = read_log(project / "run")
    assert [line["iteration"] for line in lines] == [0, 2, 4, 4]
    assert {"loss_cls", "loss_box_reg", "loss_rpn_cls", "loss_rpn_loc"} <= lines[-2].keys()
    record = json.loads((project / "run" / "record.json").read_text("utf-8"))
    assert record["engine"]["name"] == "torchvision"
    # What was trained is a checkpoint of torchvision's for 8 classes.
    trained = load_file(project / "run" / "model_last.safetensors")
    assert trained["roi_heads.box_predictor.cls_score.weight"].shape[0] == 9
    # A training that lost its last iterations repeats them.
    checkpoints = project / "run" / "checkpoints"
    for path in checkpoints.glob("iteration-0000004.pth*"):
        path.unlink()
    assert (checkpoints / "iteration-0000002.pth").exists()
    (project / "run" / "record.json").unlink()
    assert harness(*words, "--output", "run", "--resume").code == 0
    again = load_file(project / "run" / "model_last.safetensors")
    assert all(np.array_equal(trained[key], again[key]) for key in trained)


@pytest.mark.slow
def test_weights_of_each_network_are_generated_and_recognised(
    harness: Callable[..., Answer], project: Path
) -> None:
    for model in (LIGHT, THEIRS):
        made = harness("weights", "seeded", "--model", model, "--output", f"{model}.pkl")
        assert made.code == 0, made.err
        checked = harness("weights", "check", f"{model}.pkl")
        assert checked.code == 0, checked.err
        assert f"fits {model}:" in checked.out
