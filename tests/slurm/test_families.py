"""Families of the zoo on a real cluster: what their runs leave beside boxes comes out the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.core.run_files import PREDICTIONS
from harness.zoo.architectures import architecture_of
from tests.conftest import Seeded
from tests.keypoint_data import write_keypoint_data
from tests.panoptic_data import write_panoptic_data
from tests.slurm.conftest import command
from tests.slurm.test_jobs import losses, submitted, wait

IMAGES = 2
#: Of the small images that are computed here.
SMALL = ("--short-edge", "64", "--device", "cpu", "--threads", "1", "--loaders", "1")


class Family(NamedTuple):
    """How one is asked for, and what its runs are known by."""

    model: str
    architecture: str
    data: tuple[str, ...]
    """What every data set of it has beside annotations and images, as endings of options."""
    metric: str
    """The number that only this kind of network has."""


FAMILIES = {
    "keypoints": Family("keypoint_rcnn_R_50_FPN_3x", "keypoint_rcnn_R_50_FPN", (), "keypoints/AP"),
    "panoptic": Family(
        "panoptic_fpn_R_50_1x", "panoptic_fpn_R_50", ("panoptic",), "panoptic_seg/PQ"
    ),
    "rpn": Family("rpn_R_50_FPN_1x", "rpn_R_50_FPN", (), "box_proposals/AR@1000"),
    "fast": Family("fast_rcnn_R_50_FPN_1x", "fast_rcnn_R_50_FPN", ("proposals",), "bbox/AP"),
    "retinanet": Family("retinanet_R_50_FPN_1x", "retinanet_R_50_FPN", (), "bbox/AP"),
}


@pytest.fixture
def files(root: Path, tmp_path: Path) -> dict[str, Path]:
    """Data of every family by the ending of its option; keypoints have annotations of their own."""
    images = write_panoptic_data(tmp_path, images=IMAGES, root=root)
    write_keypoint_data(tmp_path / "persons.json", images=IMAGES, root=root)
    found = {
        "images": images,
        "annotations": tmp_path / "instances.json",
        "panoptic": tmp_path / "panoptic.json",
        "proposals": tmp_path / "proposed",
    }
    words = options(FAMILIES["rpn"], found)
    proposed = command("eval", *words, "--engine", "fake", "--output", str(found["proposals"]))
    assert proposed.code == 0, proposed.err
    return found


def options(family: Family, files: dict[str, Path], prefix: str = "") -> list[str]:
    """The model and a data set of it, in the words of the command line."""
    there = {name: files[name] for name in ("annotations", "images", *family.data)}
    if family.metric.startswith("keypoints"):
        there["annotations"] = files["annotations"].with_name("persons.json")
    words = [(f"--{prefix}{name}", str(path)) for name, path in there.items()]
    return ["--model", family.model, *(word for pair in words for word in pair)]


def left(folder: Path) -> dict[str, bytes]:
    """The bytes of everything that a run predicts, by name."""
    names = [PREDICTIONS, "panoptic.json", "semantic.json"]
    names += [f"panoptic/{path.name}" for path in sorted(folder.glob("panoptic/*.png"))]
    return {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}


@pytest.mark.parametrize("name", FAMILIES)
def test_shards_give_the_bytes_and_numbers_of_one_process(
    name: str, profile: Path, files: dict[str, Path], seeded: Seeded, tmp_path: Path
) -> None:
    family = FAMILIES[name]
    weights = str(seeded(architecture_of(family.architecture)))
    words = [*options(family, files), "--weights", weights, *SMALL, "--resamples", "0"]
    folder = submitted("eval", profile, *words, "--shards", "2", "--output", str(tmp_path / "two"))
    alone = command("eval", *words, "--output", str(tmp_path / "one"), "--json")
    assert alone.code == 0, alone.err
    answer = wait(folder)
    assert answer.code == 0, answer.err
    expected, found = (json.loads(one.out)["metrics"] for one in (alone, answer))
    kept = [key for key in expected if "throughput" not in key]
    assert family.metric in kept
    assert {key: found[key] for key in kept} == {key: expected[key] for key in kept}
    assert left(folder) == left(tmp_path / "one")
    assert ("panoptic/000001.png" in left(folder)) == (name == "panoptic")


@pytest.mark.parametrize("name", ["keypoints", "panoptic", "fast"])
def test_two_processes_train_as_one(
    name: str, profile: Path, files: dict[str, Path], seeded: Seeded, tmp_path: Path
) -> None:
    family = FAMILIES[name]
    words = [
        *options(family, files, "train-"),
        *options(family, files, "val-")[2:],
        *("--init", str(seeded(architecture_of(family.architecture)))),
        *("--iterations", "1", "--batch-size", "2", "--rois-per-image", "16"),
        *("--deterministic", "--no-pictures", *SMALL),
    ]
    two = submitted(
        *("train", profile, *words, "--tasks-per-node", "2", "--output", str(tmp_path / "two"))
    )
    alone = command("train", *words, "--output", str(tmp_path / "one"))
    assert alone.code == 0, alone.err
    answer = wait(two)
    assert answer.code == 0, answer.err
    assert family.metric in json.loads(answer.out)["metrics"]
    found, expected = losses(two), losses(tmp_path / "one")
    assert found.keys() == expected.keys()
    # Sums of a batch end in another bit than the mean of its halves, in each of fifty layers.
    assert found == pytest.approx(expected, rel=1e-5)
