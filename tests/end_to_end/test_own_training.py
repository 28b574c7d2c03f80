"""Fine-tuning on data of one's own: what is said before, meanwhile and in the end."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.cli.main import parser_for
from harness.cli.options import complete, request_from
from harness.core.requests.loading import LoadRequest, ServeRequest
from harness.serve.server import find_served
from harness.training.log import read_log
from harness.workflows.model import load
from tests.composing import composed
from tests.end_to_end.conftest import Answer


@pytest.fixture
def own(small_coco: Path) -> list[str]:
    """The small data set to learn, to evaluate on and to test on, from the embedded weights."""
    pair = (str(small_coco / "annotations.json"), str(small_coco / "images"))
    words = []
    for part in ("train", "val", "test"):
        words += [f"--{part}-annotations", pair[0], f"--{part}-images", pair[1]]
    return [*words, "--init", "zoo", "--device", "cpu", "--threads", "1", "--short-edge", "64"]


@pytest.mark.slow
def test_a_fine_tuning_speaks_to_its_user(
    harness: Callable[..., Answer], own: list[str], project: Path
) -> None:
    words = ["--epochs", "1.5", "--batch-size", "2", "--eval-every", "2", "--output", "run"]
    answer = harness("train", *own, *words)
    assert answer.code == 0, answer.err
    # What only a retraining of the zoo needs is not said.
    for sentence in ("published", "not comparable", "721", "NO REFERENCE"):
        assert sentence not in answer.err + answer.out
    record = json.loads((project / "run" / "record.json").read_text("utf-8"))
    summary = record["resolved"]["summary"]
    assert record["resolved"]["iterations"] == 4  # 1.5 epochs of 5 images, 2 at once
    assert record["verdict"]["line"].startswith("TRAINED: box AP ")
    evaluated = [line["iteration"] for line in read_log(project / "run") if "bbox/AP" in line]
    assert evaluated == [0, 2, 4]
    assert summary["before"]["bbox/AP"] is not None
    assert summary["test"] == summary["best"]  # the same images
    assert summary["test_loss"] == pytest.approx(summary["validation_loss"])
    words = ("box AP", "mask AP50", "validation loss", "test loss", "best weights:", "learned from")
    for told in words:
        assert told in answer.out
    # The sample is drawn at every evaluation; in the end before beside best, and all of them.
    folder = project / "run" / "predictions"
    drawn = sorted(path.name for path in folder.glob("*.jpg"))
    numbered = [f"iteration-{number:07d}.jpg" for number in evaluated]
    assert drawn == ["before-and-after.jpg", "by-iteration.jpg", *numbered]
    assert str(Path("run") / "predictions" / "by-iteration.jpg") in answer.out
    with Image.open(folder / "by-iteration.jpg") as sheet, Image.open(folder / numbered[0]) as one:
        assert sheet.height == one.height  # the same images, a column more for each evaluation
        assert sheet.width == pytest.approx(2 * one.width, abs=20)
    # One report, of the best weights; the evaluations in between have none.
    pages = list((project / "run").rglob("report.html"))
    assert [page.parent.name for page in pages] == [f"iteration-{summary['best_iteration']:07d}"]
    assert str(pages[0].relative_to(project)) in answer.out
    assert "--train-annotations" in pages[0].read_text("utf-8")  # the command that made it
    # The settings of an evaluation inside repeat it, or say that its weights are gone.
    for number in evaluated:
        config = project / "run" / "evaluations" / f"iteration-{number:07d}" / "config.toml"
        again = harness("eval", "--config", config, "--no-report")
        kept = number in (summary["best_iteration"], summary["last_iteration"])
        assert again.code == (0 if kept else 4), again.err
    # The commands that are printed can be pasted as they are.
    commands = [shlex.split(line) for line in answer.out.splitlines() if line.startswith("  harn")]
    assert [words[1] for words in commands] == ["eval", "show", "predict", "serve"]
    for words in commands[:3]:
        assert harness(*words[1:]).code == 0, words


def test_epochs_and_iterations_are_one_thing(
    harness: Callable[..., Answer], own: list[str], project: Path
) -> None:
    answer = harness("train", *own, "--epochs", "1", "--iterations", "3")
    assert answer.code == 2
    assert "not both" in answer.err
    unknown = harness("train", "--model", "R_50_FPN_3x", "--epochs", "1", "--dry-run")
    assert unknown.code == 2
    assert "is not known without the training data" in unknown.err


def test_a_dry_run_needs_nothing(harness: Callable[..., Answer], project: Path) -> None:
    words = ["train", "--model", "MobileNetV2_FPNLite_3x", "--batch-size", "1", "--threads", "1"]
    answer = harness(*words, "--device", "cpu", "--short-edge", "64", "--dry-run", "--json")
    assert answer.code == 0, answer.err
    plan = json.loads(answer.out)
    assert plan["schedule"]["iterations"] == 16 * 270_000
    assert plan["schedule"]["learning_rate"] == pytest.approx(0.02 / 16)
    assert plan["s_per_iteration"] > 0
    assert plan["memory_bytes"] > 0
    assert plan["measured_on"].startswith("generated images")
    assert plan["epochs"] is None
    assert len(plan["missing"]) == 3
    assert "--only train,annotations,val,backbones" in plan["fetch"]
    # The training itself names the same, all at once, with the same command.
    refused = harness(*words)
    assert refused.code == 3
    for told in (*plan["missing"], plan["fetch"]):
        assert told in refused.err
    # A schedule in epochs needs the number of images, and says what is missing besides.
    in_epochs = harness(*words, "--epochs", "5", "--dry-run")
    assert in_epochs.code == 2
    for told in (
        "--epochs 5: how many images",
        "give --iterations",
        *plan["missing"],
        plan["fetch"],
    ):
        assert told in in_epochs.err


def test_a_dry_run_computes_no_batch_that_a_cpu_has_no_memory_for(
    harness: Callable[..., Answer], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system would end the process: what sixteen images take follows from one and two."""
    import harness.training.dry_run as measuring
    import harness.workflows.training.memory as planning

    counts = []
    iterate = measuring.run_iteration

    def counted(trainer: Any, samples: Any) -> Any:
        counts.append(len(samples))
        return iterate(trainer, samples)

    monkeypatch.setattr(measuring, "run_iteration", counted)
    words = ["train", "--model", "MobileNetV2_FPNLite_3x", "--threads", "1", "--dry-run"]
    words += ["--device", "cpu", "--short-edge", "64", "--batch-size", "16"]
    answer = harness(*words, "--json")
    assert answer.code == 0, answer.err
    assert counts == [1, 1, 2, 2]
    plan = json.loads(answer.out)
    assert plan["is_estimated"]
    assert plan["advice"] is None

    monkeypatch.setattr(planning, "memory_bytes", lambda: 0)
    monkeypatch.setattr(planning, "USABLE", 1.0)
    answer = harness(*words)
    assert "estimated from one and two images: " in answer.out
    assert "one image takes more: lower --short-edge" in answer.out


@pytest.mark.parametrize("peak", [None, 1 << 30], ids=["as measured", "as much for two as for one"])
def test_of_an_absurd_batch_few_images_are_decoded(
    harness: Callable[..., Answer],
    own: list[str],
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    peak: int | None,
) -> None:
    import harness.training.dry_run as measuring
    import harness.training.samples as sampling

    decoded = []
    make = sampling.make_sample

    def counted(*given: Any, **more: Any) -> Any:
        decoded.append(1)
        return make(*given, **more)

    monkeypatch.setattr(sampling, "make_sample", counted)
    monkeypatch.setattr(measuring, "MOST_DECODED", 3)
    if peak is not None:
        monkeypatch.setattr(measuring, "peak_memory_bytes", lambda _: peak)
    words = ["train", *own, "--device", "cpu", "--dry-run", "--batch-size", "4000000"]
    answer = harness(*words, "--iterations", "2", "--json")
    assert answer.code == 0, answer.err
    plan = json.loads(answer.out)
    assert plan["schedule"]["batch_size"] == 4_000_000
    assert "--accumulate " in plan["advice"]
    assert len(decoded) <= 8 * 3  # two batches of one, two of two, and those ahead


def test_a_batch_that_does_not_fit_on_a_cpu_is_refused_before_it_begins(
    harness: Callable[..., Answer],
    own: list[str],
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import harness.workflows.training.memory as planning

    words = ["train", *own, "--iterations", "2", "--batch-size", "4", "--no-pictures"]
    words += ["--eval-every", "0", "--deterministic"]
    assert harness(*words, "--output", "first").code == 0  # so small that nothing is measured
    monkeypatch.setattr(planning, "MOST_BYTES_A_PIXEL", 2**40)
    monkeypatch.setattr(planning, "free_memory_bytes", lambda: 2**20)
    answer = harness(*words, "--output", "second")
    assert answer.code == 0, answer.err
    said = answer.out + answer.err
    assert "one image and two are measured first" in said
    assert "warning: a batch of 4 images takes about " in said
    assert "other programs leave 0.0 GiB free: end them, or raise --accumulate" in said
    weights = [
        (project / run / "model_last.safetensors").read_bytes() for run in ("first", "second")
    ]
    assert weights[0] == weights[1]  # what was measured left no trace

    monkeypatch.setattr(planning, "memory_bytes", lambda: 2**20)
    answer = harness(*words, "--accumulate", "1", "--output", "third")
    assert answer.code == 2
    assert "a batch of 4 images takes about" in answer.err
    assert "one image takes more: lower --short-edge" in answer.err
    assert not (project / "third").exists()


def test_files_that_are_missing_are_named_together(
    harness: Callable[..., Answer], own: list[str]
) -> None:
    words = [word.replace("annotations.json", "absent.json") for word in own]
    answer = harness("train", *words, "--model", "R_50_FPN_3x", "--iterations", "1")
    assert answer.code == 3
    assert "absent.json" in answer.err
    assert "--only checkpoints --model R_50_FPN_3x" in answer.err


def test_validation_images_that_cannot_judge_are_named(
    harness: Callable[..., Answer], own: list[str], small_coco: Path, project: Path
) -> None:
    content = json.loads((small_coco / "annotations.json").read_text("utf-8"))
    bare = json.dumps({**content, "annotations": []})
    (project / "bare.json").write_text(bare, encoding="utf-8")
    none = json.dumps({**content, "annotations": [], "images": []})
    (project / "none.json").write_text(none, encoding="utf-8")
    link = project / "link"
    link.symlink_to(small_coco / "images", target_is_directory=True)
    words = [*own, "--iterations", "1", "--batch-size", "1", "--dry-run"]
    plan = harness("train", *words, "--val-annotations", "bare.json", "--val-images", str(link))
    assert plan.code == 0, plan.err
    count = len(content["images"])
    assert f"of the {count} validation images are learned from as well" in plan.out
    assert "warning: the validation images have no object that counts" in plan.out
    assert f"of the {count} test images are learned from as well" in plan.out
    assert "the test images have no object" not in plan.out
    assert "an evaluation in the end" in plan.out  # and not every so many of one iteration
    refused = harness("train", *words, "--val-annotations", "none.json")
    assert refused.code == 4
    assert "none.json lists no image" in refused.err


def test_categories_that_differ_are_named_by_file(
    harness: Callable[..., Answer], own: list[str], small_coco: Path, project: Path
) -> None:
    content = json.loads((small_coco / "annotations.json").read_text("utf-8"))
    name, content["categories"][0]["name"] = content["categories"][0]["name"], "another"
    (project / "other.json").write_text(json.dumps(content), encoding="utf-8")
    words = [*own, "--iterations", "1", "--batch-size", "1"]
    refused = harness("train", *words, "--val-annotations", "other.json")
    assert refused.code == 4
    number = content["categories"][0]["id"]
    assert f"only in other.json: {number} another\n" in refused.err
    assert f"annotations.json: {number} {name}\n" in refused.err


@pytest.mark.slow
def test_a_training_on_smaller_images_is_used_on_smaller_images(
    harness: Callable[..., Answer], own: list[str], project: Path
) -> None:
    words = ["--iterations", "1", "--batch-size", "1", "--eval-every", "0", "--no-pictures"]
    answer = harness("train", *own, *words, "--output", "run")
    assert answer.code == 0, answer.err
    # One line of the log is of all iterations: there is no loss before.
    (loss,) = [line for line in answer.out.splitlines() if line.startswith("training loss")]
    assert len(loss.split()) == 3
    printed = [line for line in answer.out.splitlines() if line.startswith("  harness ")]
    assert not [line for line in printed if "--short-edge" in line]  # the folder states them
    (serving,) = [shlex.split(line) for line in printed if line.split()[1] == "serve"]
    parser = parser_for(serving[1:])
    arguments = parser.parse_args(serving[1:])
    complete(arguments, "serve")
    found = find_served(request_from(ServeRequest, arguments))
    assert found.architecture.short_edge_px == 64
    for source in ("run", "run/model_best.safetensors", "run/evaluations/iteration-0000001"):
        with load(composed(LoadRequest, source=source, threads=1)) as model:
            assert model.info.engine.architecture.short_edge_px == 64, source
    # Moved away, the weights alone say what they are; their training has another folder's name.
    moved = project / "elsewhere" / "mine.safetensors"
    moved.parent.mkdir()
    moved.write_bytes((project / "run" / "model_best.safetensors").read_bytes())
    with load(composed(LoadRequest, source=str(moved), threads=1)) as model:
        assert model.info.engine.architecture.short_edge_px == 64
    told = harness("weights", "check", str(moved))
    assert "trained by harness as tiny on images with a short edge of 64 px; 8 classes" in told.out
    (evaluating,) = [shlex.split(line) for line in printed if line.split()[1] == "eval"]
    again = harness(*evaluating[1:], "--threads", "1", "--no-report", "--output", "again")
    assert again.code == 0, again.err
    assert "images are resized as run/model_best.safetensors states: short edge 64 px, long" in (
        again.out + again.err
    )
    assert "not comparable: short_edge_px" not in again.out + again.err
    record = json.loads((project / "again" / "record.json").read_text("utf-8"))
    assert record["resolved"]["sizes_stated_by"] == "run/model_best.safetensors"
    first = project / "run" / "evaluations" / "iteration-0000001" / "predictions.json"
    assert (project / "again" / "predictions.json").read_bytes() == first.read_bytes()


def test_boxes_alone_are_called_so(
    harness: Callable[..., Answer], own: list[str], small_coco: Path, project: Path
) -> None:
    content = json.loads((small_coco / "annotations.json").read_text("utf-8"))
    for row in content["annotations"]:
        row["segmentation"] = []
    (project / "boxes.json").write_text(json.dumps(content), encoding="utf-8")
    checked = harness("data", "check", "boxes.json", "--images", small_coco / "images")
    assert checked.code == 0
    assert "a network with masks learns nothing from this file" in checked.out
    assert "--boxes-as-masks" in checked.out
    words = [*own, "--iterations", "1", "--batch-size", "1", "--train-annotations", "boxes.json"]
    refused = harness("train", *words)
    assert refused.code == 4
    assert "annotations of a box without a mask" in refused.err
    assert "--boxes-as-masks" in refused.err
    assert "--model faster_rcnn_R_50_FPN_3x" in refused.err
