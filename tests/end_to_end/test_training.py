"""``harness train`` as users call it: unbroken, killed, stopped, in two processes, on odd data."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from harness import Interrupted, train
from harness.core.progress import Advance, Silent
from harness.training.log import read_log
from harness.workflows.runs.checksums import write_checked
from harness.zoo.checkpoints import EMBEDDED
from tests.end_to_end.conftest import Answer

ITERATIONS = 12


@pytest.fixture
def on_small_twice(small_coco: Path) -> list[str]:
    """The small data set for training, one of its images for validation, a short schedule."""
    annotations, images = str(small_coco / "annotations.json"), str(small_coco / "images")
    content = json.loads(Path(annotations).read_text("utf-8"))
    content["images"] = sorted(content["images"], key=lambda one: int(one["id"]))[:1]
    kept = {one["id"] for one in content["images"]}
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] in kept]
    few = small_coco / "validation.json"
    few.write_text(json.dumps(content), encoding="utf-8")
    return [
        *("--train-annotations", annotations, "--train-images", images),
        *("--val-annotations", str(few), "--val-images", images),
        *("--iterations", str(ITERATIONS), "--batch-size", "2", "--init", "none"),
        *("--device", "cpu", "--threads", "1", "--deterministic", "--short-edge", "64"),
    ]


def trained(folder: Path) -> dict[str, np.ndarray]:
    return load_file(folder / "model_last.safetensors")


def test_files_of_weights_that_are_lost_are_written_again_or_named(
    harness: Callable[..., Answer], on_small_twice: list[str], project: Path
) -> None:
    words = ("train", *on_small_twice, "--iterations", "3", "--eval-every", "2", "--output", "run")
    assert harness(*words).code == 0
    run = project / "run"
    best, last = run / "model_best.safetensors", run / "model_last.safetensors"
    whole = best.read_bytes(), last.read_bytes()

    def continued() -> str:
        (run / "record.json").unlink()
        answer = harness(*words, "--resume")
        assert answer.code == 0, answer.err
        assert last.read_bytes() == whole[1]
        return answer.err

    last.unlink()
    best.write_bytes(whole[0])
    assert "lost" not in continued()
    last.write_bytes(b"damaged")
    best.write_bytes(whole[0][:-1] + bytes([whole[0][-1] ^ 1]))
    said = continued()
    is_last_best = whole[0] == whole[1]
    assert ("of iteration 2, are lost" in said) == (not is_last_best)
    assert best.read_bytes() == whole[1]


def test_a_training_leaves_weights_logs_and_a_record(
    harness: Callable[..., Answer], on_small_twice: list[str], project: Path
) -> None:
    short = ("--iterations", "4", "--eval-every", "2")
    answer = harness("train", *on_small_twice, *short, "--output", "run")
    assert answer.code == 0, answer.err
    run = project / "run"
    record = json.loads((run / "record.json").read_text("utf-8"))
    assert record["kind"] == "train"
    assert record["resolved"]["iterations"] == 4
    assert "bbox/AP" in record["metrics"]
    assert record["verdict"]["outcome"] == "nothing-to-compare"
    assert "1 crowd region" in record["resolved"]["left_out"]
    lines = read_log(run)
    assert [line["iteration"] for line in lines] == [2, 4, 4]
    assert lines[-1]["validation/total_loss"] > 0
    assert len(list((run / "evaluations").glob("iteration-*/record.json"))) == 2
    for changed in (
        {},
        {"sha256": {"predictions.json": "0" * 64}},  # of the evaluation, in earlier records
    ):
        (run / "record.json").write_text(json.dumps({**record, **changed}), encoding="utf-8")
        (run / "SHA256SUMS").unlink(missing_ok=True)
        refused = harness("train", *on_small_twice, *short, "--output", "run", "--resume")
        assert refused.code == 2, refused.err
        assert "the run in run is finished" in refused.err
        assert "damaged" not in refused.err
    # What was trained can be used like any checkpoint.
    again = harness(
        "eval", "--weights", run / "model_last.safetensors", *on_small_twice_eval(on_small_twice)
    )
    assert again.code == 0, again.err


def test_the_first_weights_are_drawn_and_pictures_change_no_weight(
    harness: Callable[..., Answer], on_small_twice: list[str], project: Path
) -> None:
    words = ["train", *on_small_twice, "--iterations", "2", "--eval-every", "0"]
    drawn = harness(*words, "--output", "drawn")
    assert drawn.code == 0, drawn.err
    folder = project / "drawn" / "predictions"
    # Random weights are not evaluated, and are drawn all the same.
    assert not (project / "drawn" / "evaluations" / "iteration-0000000").exists()
    names = [f"iteration-{number:07d}.jpg" for number in (0, 2)]
    assert {path.name for path in folder.glob("iter*.jpg")} == set(names)
    last = json.loads((folder / "iteration-0000002.json").read_text("utf-8"))
    evaluation = project / "drawn" / "evaluations" / "iteration-0000002"
    everything = json.loads((evaluation / "predictions.json").read_text("utf-8"))
    assert last == [
        row for row in everything if row["image_id"] in {one["image_id"] for one in last}
    ]
    plain = harness(*words, "--output", "plain", "--no-pictures")
    assert plain.code == 0, plain.err
    assert not (project / "plain" / "predictions").exists()
    first, second = trained(project / "drawn"), trained(project / "plain")
    assert all(np.array_equal(first[key], second[key]) for key in first)


def test_what_cannot_be_drawn_is_a_line(
    harness: Callable[..., Answer], on_small_twice: list[str], project: Path
) -> None:
    content = json.loads(Path(on_small_twice[1]).read_text("utf-8"))
    empty = project / "empty.json"
    empty.write_text(json.dumps({**content, "annotations": []}), encoding="utf-8")
    words = [*on_small_twice, "--val-annotations", empty, "--iterations", "1", "--eval-every", "0"]
    answer = harness("train", *words, "--output", "run")
    assert answer.code == 0, answer.err
    assert "no pictures in predictions/: no validation image has an object" in answer.err
    assert not (project / "run" / "predictions").exists()


def on_small_twice_eval(words: list[str]) -> list[str]:
    return ["--annotations", words[1], "--images", words[3], "--threads", "1"]


class Stopping(Silent):
    """Sends this process the signal of a scheduler in the third iteration."""

    @contextmanager
    def task(self, title: str, *, total: int | None, done: int = 0, unit: str) -> Iterator[Advance]:
        """Count what is finished."""
        count = done

        def advance(units: int, note: str = "") -> None:
            nonlocal count
            count += units
            if title == "train" and count == 3:
                signal.raise_signal(signal.SIGUSR1)

        yield advance


def test_stopped_and_resumed_ends_with_the_same_weights(small_coco: Path, tmp_path: Path) -> None:
    data = {"annotations": small_coco / "annotations.json", "images": small_coco / "images"}
    settings: dict[str, Any] = {
        **{f"{part}_{name}": path for part in ("train", "val") for name, path in data.items()},
        **{"iterations": 5, "batch_size": 2, "init": "none", "device": "cpu", "threads": 1},
        **{"deterministic": True, "short_edge_px": 64, "ema": 0.9, "pictures": False},
    }
    train(**settings, output=tmp_path / "unbroken")
    with pytest.raises(Interrupted, match="stopped by SIGUSR1 after iteration"):
        train(**settings, output=tmp_path / "stopped", progress=Stopping())
    assert not (tmp_path / "stopped" / "record.json").exists()
    train(**settings, output=tmp_path / "stopped", resume=True)
    warned = {"checkpoint_signals": [signal.SIGUSR1], "progress": Stopping()}
    begun = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    result = train(**settings, **warned, output=tmp_path / "warned", begun=begun)
    assert result.record.created_utc == "2026-01-02T03:04:05+00:00"
    saved = {path.name for path in (tmp_path / "warned" / "checkpoints").iterdir()}
    assert "iteration-0000004.pth" in saved  # asked for as the third was reported
    for name in ("model_last.safetensors", "model_best.safetensors"):
        runs = ("unbroken", "stopped", "warned")
        first, second, third = ((tmp_path / run / name).read_bytes() for run in runs)
        assert first == second == third, name


@pytest.mark.slow
def test_killed_and_resumed_ends_with_the_same_weights(
    harness: Callable[..., Answer], on_small_twice: list[str], project: Path
) -> None:
    words = ["train", *on_small_twice, "--ema", "0.9", "--eval-every", "5", "--iterations", "7"]
    words.append("--no-pictures")
    assert harness(*words, "--output", "unbroken").code == 0
    killed = subprocess.Popen(
        [sys.executable, "-m", "harness", *words, "--output", "killed"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    checkpoint = project / "killed" / "checkpoints" / "iteration-0000005.pth"
    while not checkpoint.exists():
        assert killed.poll() is None, "ended before its first checkpoint"
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    assert not (project / "killed" / "record.json").exists()
    resumed = harness(*words, "--output", "killed", "--resume")
    assert resumed.code == 0, resumed.err
    assert "continuing at iteration" in resumed.err
    first, second = trained(project / "unbroken"), trained(project / "killed")
    assert all(np.array_equal(first[key], second[key]) for key in first)
    told = [
        [line["iteration"] for line in read_log(project / run)] for run in ("unbroken", "killed")
    ]
    assert told[0] == told[1]


@pytest.mark.slow
def test_a_stop_signal_leaves_a_checkpoint_and_a_way_on(
    on_small_twice: list[str], project: Path, harness: Callable[..., Answer]
) -> None:
    words = ["train", *on_small_twice, "--eval-every", "5", "--no-pictures", "--output", "run"]
    stopped = subprocess.Popen(
        [sys.executable, "-m", "harness", *words], stderr=subprocess.PIPE, text=True
    )
    while not (project / "run" / "checkpoints" / "iteration-0000005.pth").exists():
        assert stopped.poll() is None
        time.sleep(0.01)
    stopped.send_signal(signal.SIGUSR1)
    _, told = stopped.communicate(timeout=60)
    assert stopped.returncode == 130, told
    assert "stopped by SIGUSR1 " in told
    assert "--resume" in told
    assert harness(*words, "--resume").code == 0


def test_another_optimiser_more_augmentation_and_the_best_by_loss(
    harness: Callable[..., Answer], on_small_twice: list[str], project: Path
) -> None:
    words = [*("train", *on_small_twice), *("--optimiser", "adamw", "--augment", "strong")]
    words += ["--best-by", "loss", "--eval-every", "1", "--output", "run", "--no-pictures"]
    answer = harness(*words, "--iterations", "2")
    assert answer.code == 0, answer.err
    assert "not comparable" not in answer.err  # nothing is published for these images
    record = json.loads((project / "run" / "record.json").read_text("utf-8"))
    assert "trained with adamw, published with sgd" in record["protocol_deviations"]
    assert "augmented with strong, published with flip" in record["protocol_deviations"]
    losses = {
        line["iteration"]: line["validation/total_loss"]
        for line in read_log(project / "run")
        if "validation/total_loss" in line
    }
    best = load_file(project / "run" / "model_best.safetensors")
    last = trained(project / "run")
    same = all(np.array_equal(best[key], last[key]) for key in last)
    assert same == (losses[2] < losses[1])
    for wrong in (["--optimiser", "sgd"], ["--augment", "flip"]):
        again = harness(*words, "--iterations", "2", *wrong, "--resume")
        assert again.code in (2, 4), again.err


def test_a_training_that_leaves_an_earlier_curve_is_told(
    harness: Callable[..., Answer], on_small_twice: list[str], project: Path
) -> None:
    lines = [{"iteration": 20 * number, "total_loss": 1.0} for number in range(1, 31)]
    lines.append({"iteration": 600, "bbox/AP": 40.0})
    curve = project / "metrics.json"
    curve.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    words = ["train", *on_small_twice, "--iterations", "2", "--no-pictures", "--output"]
    answer = harness(*words, "run", "--reference-curve", str(curve))
    assert answer.code == 0, answer.err
    assert "is below the earlier training's 40.000 ± 1.000" in answer.err
    assert "is below the earlier" in (project / "run" / "log.txt").read_text(encoding="utf-8")
    wrong = harness(*words, "other", "--reference-curve", str(project / "no.json"))
    assert wrong.code == 2
    assert "cannot read the curve" in wrong.err


@pytest.mark.slow
def test_two_processes_train_as_one(
    harness: Callable[..., Answer],
    process: Callable[..., Answer],
    on_small_twice: list[str],
    project: Path,
) -> None:
    words = ["train", *on_small_twice, "--iterations", "2", "--batch-size", "4", "--no-pictures"]
    assert harness(*words, "--output", "one").code == 0
    answer = process(*words, "--nproc", "2", "--output", "two")
    assert "Warning" not in answer.err
    assert answer.code == 0, answer.err
    one, two = first_losses(project / "one"), first_losses(project / "two")
    assert one.keys() == two.keys()
    assert two == pytest.approx(one, rel=1e-5)


def test_an_accumulated_batch_counts_as_one(
    harness: Callable[..., Answer], on_small_twice: list[str], project: Path
) -> None:
    words = ["train", *on_small_twice, "--iterations", "1", "--no-pictures"]
    assert harness(*words, "--output", "whole").code == 0
    assert harness(*words, "--accumulate", "2", "--output", "parts").code == 0
    whole, parts = first_losses(project / "whole"), first_losses(project / "parts")
    # These are means over images; the others are means over the regions of a part.
    for name in ("loss_rpn_cls", "loss_rpn_loc"):
        assert parts[name] == pytest.approx(whole[name], rel=1e-5)


def first_losses(run: Path) -> dict[str, float]:
    return {name: value for name, value in read_log(run)[0].items() if name.startswith("loss_")}


def test_other_classes_keep_everything_but_the_class_layers(
    harness: Callable[..., Answer], on_small_twice: list[str], project: Path, small_coco: Path
) -> None:
    eight = EMBEDDED / "tiny.safetensors"
    content = json.loads((small_coco / "annotations.json").read_text("utf-8"))
    content["categories"] = [{"id": number, "name": f"kind {number}"} for number in range(3)]
    for row in content["annotations"]:
        row["category_id"] %= 3
    (small_coco / "annotations.json").write_text(json.dumps(content), encoding="utf-8")
    words = [word for word in on_small_twice if word != "none"]
    words.insert(words.index("--init") + 1, str(eight))
    words += ["--val-annotations", str(small_coco / "annotations.json")]
    short = ("--iterations", "2", "--no-pictures", "--lr", "0.0001")
    answer = harness("train", *words, *short, "--output", "three")
    assert answer.code == 0, answer.err
    assert "these begin at random: roi_heads.box_predictor.bbox_pred" in answer.err
    assert trained(project / "three")["roi_heads.box_predictor.cls_score.weight"].shape[0] == 4


def test_a_diverging_loss_names_iteration_and_images(
    harness: Callable[..., Answer], on_small_twice: list[str]
) -> None:
    answer = harness("train", *on_small_twice, "--lr", "1e30", "--no-pictures", "--output", "run")
    assert answer.code == 5
    assert "is not finite, on the images" in answer.err
    assert "iteration" in answer.err


def test_an_image_that_cannot_be_read_any_more_says_how_to_continue(
    harness: Callable[..., Answer], project: Path, small_coco: Path, on_small_twice: list[str]
) -> None:
    shutil.copytree(small_coco / "images", project / "images")
    whole = {image: image.read_bytes() for image in (project / "images").iterdir()}
    for image, content in whole.items():
        image.write_bytes(content[:100])
    quick = [*on_small_twice, "--no-pictures"]
    words = [*quick, "--train-images", "images", "--output", "run"]
    answer = harness("train", *words)
    assert answer.code == 4, answer.err
    assert "cannot be decoded" in answer.err
    assert "start it again with: " in answer.err
    for image, content in whole.items():
        image.write_bytes(content)
    answer = harness("train", *words, "--resume")  # as a script does that always says so
    assert answer.code == 0, answer.err
    assert "no checkpoint in run/checkpoints yet: the training begins again" in answer.err
    for image, content in whole.items():
        image.write_bytes(content[:100])
    words = [*quick, "--val-images", "images", "--eval-every", "1", "--output", "other"]
    answer = harness("train", *words)
    assert answer.code == 4, answer.err
    assert "when every file is as it was, continue with: " in answer.err


@pytest.mark.parametrize(
    ("extra", "code", "told"),
    [
        (["--resume", "--output", "nothing"], 2, "nothing to resume"),
        (["--batch-size", "3", "--nproc", "2"], 2, "cannot be divided into 2 equal parts"),
        (["--init", "absent.pkl"], 2, "no such file"),
        (["--init", "zoo", "--model", "R_50_FPN_3x"], 3, "harness download"),
        (["--init", "imagenet", "--model", "R_50_FPN_3x"], 3, "--only backbones"),
        (["--ema", "1.5"], 2, "--ema must be above 0 and below 1"),
        (["--precision", "fp16"], 2, "needs a CUDA device"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    harness: Callable[..., Answer],
    on_small_twice: list[str],
    extra: list[str],
    code: int,
    told: str,
) -> None:
    answer = harness("train", *on_small_twice, *extra)
    assert answer.code == code, answer.err
    assert told in answer.err
    assert "Traceback" not in answer.err


def test_data_of_ones_own_need_validation_data(
    harness: Callable[..., Answer], on_small_twice: list[str]
) -> None:
    answer = harness("train", *on_small_twice[:4])
    assert answer.code == 2
    assert "--val-annotations" in answer.err


def test_a_dry_run_measures_and_writes_nothing(
    harness: Callable[..., Answer], on_small_twice: list[str], project: Path
) -> None:
    before = sorted(project.rglob("*"))
    answer = harness("train", *on_small_twice, "--dry-run")
    assert answer.code == 0, answer.err
    assert "s an iteration" in answer.out
    assert "4.8 epochs" in answer.out
    assert "published" not in answer.out  # the recipe is for other images
    assert sorted(project.rglob("*")) == before


def test_a_run_folder_of_another_training_is_refused(
    harness: Callable[..., Answer], on_small_twice: list[str], project: Path
) -> None:
    words = ["train", *on_small_twice, "--iterations", "2", "--no-pictures", "--output", "run"]
    assert harness(*words).code == 0
    (project / "run" / "record.json").unlink()  # as if it had been killed at its end
    answer = harness(*words, "--lr", "0.5", "--resume")
    assert answer.code == 4
    assert "learning_rate: 0.005 there, 0.5 now" in answer.err


ANOTHER = "run belongs to another run: it is of the model {}, and {} is requested"


def test_a_run_folder_of_another_model_names_both(
    harness: Callable[..., Answer], on_small_twice: list[str], project: Path
) -> None:
    """Before data or weights of the other model are looked for, and whatever continues a run."""
    words = ["train", *on_small_twice, "--iterations", "2", "--no-pictures", "--output", "run"]
    assert harness(*words).code == 0
    (project / "run" / "record.json").unlink()
    for model in ("keypoint_rcnn_R_50_FPN_3x", "panoptic_fpn_R_50_3x", "retinanet_R_50_FPN_3x"):
        answer = harness(*words, "--model", model, "--init", "zoo", "--resume")
        assert answer.code == 4
        assert ANOTHER.format("tiny", model) in answer.err
        assert "continue it with --model tiny" in answer.err
    on = ("--annotations", on_small_twice[1], "--images", on_small_twice[3], "--output", "run")
    shutil.rmtree(project / "run")
    assert harness("eval", "--engine", "fake", *on).code == 0
    (project / "run" / "record.json").unlink()
    model = "keypoint_rcnn_R_50_FPN_3x"
    answer = harness("eval", *on, "--model", model, "--resume")
    assert answer.code == 4
    assert ANOTHER.format("tiny", model) in answer.err


def test_predictions_and_sweeps_of_another_model_name_both(
    harness: Callable[..., Answer], on_small_twice: list[str], project: Path
) -> None:
    images, path = on_small_twice[3], project / "run" / "run.json"
    on = ("--annotations", on_small_twice[1], "--images", images, "--output", "run")
    assert harness("eval", "--engine", "fake", *on).code == 0
    (project / "run" / "record.json").unlink()
    facts = json.loads(path.read_text("utf-8"))
    model = "faster_rcnn_R_50_C4_3x"
    unfinished: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
        "predict": ({"model": "tiny", "paths": [images]}, (images, "--output", "run")),
        "sweep": ({"model": "tiny"}, on),
    }
    for kind, (request, words) in unfinished.items():
        write_checked(
            path.parent, "run.json", json.dumps({**facts, "kind": kind} | {"request": request})
        )
        answer = harness(kind, *words, "--model", model, "--resume")
        assert answer.code == 4, answer.err
        assert ANOTHER.format("tiny", model) in answer.err


@pytest.mark.slow
def test_detectron2_does_not_continue_another_training(
    process: Callable[..., Answer], on_small_twice: list[str], project: Path
) -> None:
    pytest.importorskip("detectron2", reason="Detectron2 is not installed")
    words = [word for word in on_small_twice if word != "--deterministic"]
    words += ["--engine", "detectron2", "--no-pictures", "--output", "run"]
    assert process("train", *words).code == 0
    for finished in ("record.json", "SHA256SUMS"):
        (project / "run" / finished).unlink(missing_ok=True)
    answer = process("train", *words, "--lr", "0.5", "--resume")
    assert answer.code == 4, answer.err
    assert "learning_rate: 0.005 there, 0.5 now" in answer.err
    answer = process("train", *words, "--resume")
    assert answer.code == 0, answer.err


def test_detectron2_trains_into_the_same_record(
    process: Callable[..., Answer], on_small_twice: list[str], project: Path
) -> None:
    pytest.importorskip("detectron2", reason="Detectron2 is not installed")
    words = [word for word in on_small_twice if word != "--deterministic"]
    answer = process("train", *words, "--engine", "detectron2", "--output", "run")
    assert answer.code == 0, answer.err
    record = json.loads((project / "run" / "record.json").read_text("utf-8"))
    assert record["kind"] == "train"
    assert record["engine"]["name"] == "detectron2"
    assert record["resolved"]["engine"] == "detectron2"
    assert read_log(project / "run")[-1]["total_loss"] > 0
    assert trained(project / "run").keys() >= {"roi_heads.box_predictor.cls_score.weight"}
    refused = process("train", *words, "--engine", "detectron2", "--ema", "0.9")
    assert refused.code == 2
    assert "--ema" in refused.err


#: Runs the command line with a network of Detectron2 whose memory runs out in an iteration.
LACKING = """
import sys
import torch
from detectron2.modeling import GeneralizedRCNN

at, plain, calls = int(sys.argv[1]), GeneralizedRCNN.forward, iter(range(1, 1000))

def forward(self, batch):
    if self.training and next(calls) == at:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    return plain(self, batch)

GeneralizedRCNN.forward = forward
sys.argv = ["harness", *sys.argv[2:]]
from harness.__main__ import main
main()
"""


def test_detectron2_loses_no_finished_iteration_where_memory_runs_out(
    process: Callable[..., Answer], on_small_twice: list[str], project: Path
) -> None:
    pytest.importorskip("detectron2", reason="Detectron2 is not installed")
    words = [word for word in on_small_twice if word != "--deterministic"]
    words += ["--engine", "detectron2", "--no-pictures", "--output", "run"]
    done = subprocess.run(
        [sys.executable, "-c", LACKING, "3", "train", *words], capture_output=True, text=True
    )
    assert done.returncode == 5, done.stderr
    assert "error: out of memory on cpu in iteration 3 of Detectron2's trainer: CUDA" in done.stderr
    assert "lower --batch-size" in done.stderr
    assert "the checkpoint of iteration 2 is kept" in done.stderr
    assert "continue with: harness train" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    first = torch.load(project / "run" / "model_0000001.pth", weights_only=True)
    assert first["iteration"] == first["trainer"]["iteration"] == 1  # counted from 0
    again = subprocess.run(
        [sys.executable, "-c", LACKING, "2", "train", *words, "--resume"],
        capture_output=True,
        text=True,
    )
    assert "out of memory on cpu in iteration 4 of" in again.stderr  # the second one of this start
    assert process("train", *words, "--resume").code == 0


@pytest.mark.slow
def test_processes_that_torchrun_starts_train_as_one(
    harness: Callable[..., Answer], on_small_twice: list[str], project: Path
) -> None:
    words = ["train", *on_small_twice, "--iterations", "2", "--batch-size", "4", "--no-pictures"]
    assert harness(*words, "--output", "one").code == 0
    launched = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launched += ["--master-addr", "127.0.0.1", "--master-port", str(free_port())]
    done = subprocess.run(
        [*launched, "-m", "harness", *words, "--output", "two"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert first_losses(project / "two") == pytest.approx(first_losses(project / "one"), rel=1e-5)
    assert json.loads((project / "two" / "record.json").read_text("utf-8"))["kind"] == "train"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
