"""Small mistakes, each named for what it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Answer
from tests.panoptic_data import write_panoptic_data


def test_another_folder_of_images_is_called_so(
    harness: Callable[..., Answer], small_coco: Path, project: Path
) -> None:
    (project / "empty").mkdir()
    file = small_coco / "annotations.json"
    answer = harness("data", "check", file, "--images", "empty")
    assert answer.code == 4
    assert "probably another folder" in answer.err
    assert "clean" not in answer.err  # it would leave every image out
    above = harness("data", "check", file, "--images", small_coco)
    assert above.code == 4
    assert f"its file is below: {small_coco / 'images'}" in above.err


def test_data_and_checkpoint_are_missed_together(
    harness: Callable[..., Answer], project: Path
) -> None:
    answer = harness("eval", "--model", "R_50_FPN_3x")
    assert answer.code == 3
    assert "2 downloads are missing" in answer.err
    assert "--only val,annotations,checkpoints --model R_50_FPN_3x" in answer.err
    own = ["--annotations", "none.json", "--images", "nowhere"]
    answer = harness("eval", "--model", "R_50_FPN_3x", *own)
    assert answer.code == 3
    for told in ("3 things are missing", "none.json", "nowhere", "R_50_FPN_3x: no ", "run: "):
        assert told in answer.err
    answer = harness("eval", *own)  # the embedded model is there: nothing can be downloaded
    assert answer.code == 2
    assert "2 things are missing" in answer.err


def test_weights_of_ones_own_classes_fit_with_their_annotations(
    harness: Callable[..., Answer], small_coco: Path, project: Path
) -> None:
    file = small_coco / "annotations.json"
    content = json.loads(file.read_text("utf-8"))
    content["categories"].append({"id": 1000, "name": "one more"})
    file.write_text(json.dumps(content), encoding="utf-8")
    pair = ["annotations", file, "images", small_coco / "images"]
    words = [*("--train-annotations", pair[1], "--train-images", pair[3])]
    words += ["--val-annotations", pair[1], "--val-images", pair[3], "--init", "zoo"]
    words += ["--iterations", "1", "--batch-size", "1", "--short-edge", "64", "--eval-every", "0"]
    words.append("--no-pictures")
    assert harness("train", *words, "--threads", "1", "--output", "run").code == 0
    moved = (project / "run" / "model_last.safetensors").rename(project / "moved.safetensors")
    told = harness("weights", "convert", moved, "silent.pkl")
    assert "a .pkl has no place for the classes" in told.out
    assert harness("weights", "check", "silent.pkl", "--model", "tiny").code == 4
    # What the weights say themselves, moved or not; and an annotation file.
    best = "run/model_best.safetensors"
    for named in (("silent.pkl", "--annotations", file), (moved,), (best,)):
        fitting = harness("weights", "check", *named, "--model", "tiny")
        assert fitting.code == 0, fitting.err
        assert "fits tiny" in fitting.out


def test_compare_says_where_its_page_is(
    harness: Callable[..., Answer], on_small: list[str], project: Path
) -> None:
    for name in ("one", "two"):
        assert harness("eval", "--engine", "fake", *on_small, "--output", name).code == 0
    answer = harness("compare", "one", "two", "--resamples", "0", "--html", "page.html")
    assert answer.code == 0, answer.err
    assert "page: page.html" in answer.out


def test_several_runs_are_one_table(
    harness: Callable[..., Answer], on_small: list[str], project: Path
) -> None:
    quick = ["--device", "cpu", "--threads", "1", "--short-edge", "64"]
    for name, more in (("native", quick), ("fake", ["--engine", "fake"])):
        assert harness("eval", *on_small, *more, "--output", name).code == 0
    answer = harness("compare", "native", "fake", "native", "--plot", "runs.png", "--json")
    assert answer.code == 0, answer.err
    rows = json.loads(answer.out)["rows"]
    assert [row["name"] for row in rows] == ["native", "fake", "native"]
    assert rows[0]["parameters"] > 500_000
    assert rows[0]["flops"] > 1e8
    assert rows[0]["s_per_image"] > 0
    assert rows[1]["parameters"] is None
    assert rows[1]["note"]
    other = harness("eval", *on_small, "--engine", "fake", "--limit", "1", "--output", "less")
    assert other.code == 0
    refused = harness("compare", "native", "fake", "less")
    assert (refused.code, "other images" in refused.err) == (2, True)


def test_runs_of_other_tasks_are_compared_in_what_both_have(
    harness: Callable[..., Answer], embedded_root: Path, project: Path
) -> None:
    images = write_panoptic_data(project, images=3, root=embedded_root)
    data = ["--annotations", project / "instances.json", "--images", images]
    for name, model in (("boxes", "faster_rcnn_R_50_FPN_3x"), ("masks", "R_50_FPN_3x")):
        given = ["--model", model, "--engine", "fake", *data, "--no-report", "--output", name]
        assert harness("eval", *given).code == 0
    pairs = {("masks", "boxes"): (True, False), ("boxes", "masks"): (False, True)}
    for pair, has_masks in pairs.items():
        answer = harness("compare", *pair, "--resamples", "5", "--json")
        assert answer.code == 0, answer.err
        metrics = {one["metric"]: one for one in json.loads(answer.out)["metrics"]}
        box, mask = metrics["bbox/AP"], metrics["segm/AP"]
        assert box["first"] == box["second"]
        assert box["interval"] is not None
        assert tuple(mask[side] is not None for side in ("first", "second")) == has_masks
    given = ["--model", "rpn_R_50_FPN_1x", "--engine", "fake", *data, "--output", "regions"]
    assert harness("eval", *given).code == 0
    answer = harness("compare", "masks", "regions")
    assert answer.code == 2
    assert "no number in common: box AP, mask AP and proposal AR@1000" in answer.err
    answer = harness("compare", "masks", "boxes", "regions", "--json")
    assert answer.code == 0, answer.err
    rows = json.loads(answer.out)["rows"]
    assert rows[2]["metrics"] == {"box_proposals/AR@1000": pytest.approx(100.0)}
    shown = harness("show", "regions", "--json")
    assert shown.code == 0, shown.err
    found = json.loads(shown.out)
    assert found["true_positives"] > 10
    assert found["false_negatives"] == 0  # proposals have no class to be wrong about
    assert not any(found["false_positives"].values())
