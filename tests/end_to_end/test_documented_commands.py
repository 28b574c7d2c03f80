"""The commands of the documents, run as they are on small data, with a small model.

Every command of ``docs`` is run here or by a test that is named, or has the reason why not.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.end_to_end.conftest import Answer

DOCS = REPOSITORY / "docs"

#: Pages whose commands another test runs, and which.
ELSEWHERE = {
    "models.md": "test_documented_models.py::test_commands_about_models_run",
    "serving.md": "test_documented_models.py::test_commands_about_serving_run",
    "export.md": "test_documented_models.py::test_commands_about_export_run",
}

#: Commands that are not run here, and why.
REASONS = {
    r"^data openimages ": "needs a network; tests/workflows/datasets/test_openimages.py has a "
    "mirror of its own",
    r"--track mlflow": "needs packages; tests/workflows/test_tracking.py has their adapters",
    r"panoptic_fpn_": "takes minutes; test_panoptic.py and test_panoptic_training.py run it",
    r"rpn_R_50|fast_rcnn_": "takes minutes; test_given_training.py trains such networks",
}

#: Names and numbers of the documents, and those of the small project.
SMALL = {
    "R_50_FPN_3x": "tiny",
    "R_50_FPN_1x": "tiny",
    "faster_rcnn_R_101_FPN_3x": "tiny",
    "3,17,20": "1,2",
    "30": "1",
    "photos/**/*.jpg": "photos/**/*.png",
    "coco_2017_val_100": "synthetic_val",
    "coco_2017_val_rem": "synthetic_val",
    "coco_2017_val_mlperf": "synthetic_val",
    "coco_2017_test-dev": "synthetic_val",
    "model_final_f10217.pkl": "run/model_best.safetensors",
    "RUN/model_best.safetensors": "run/model_best.safetensors",
    "my-run.toml": "evaluated/config.toml",
    "results/runs/RUN_ID/config.toml": "evaluated/config.toml",
    "results/runs/20260101-120000-eval-R_50_FPN_3x-native-a1b2c3": "evaluated",
    "results/runs/first": "evaluated",
    "results/runs/second": "evaluated",
    "RUN": "evaluated",
    "OTHER_RUN": "evaluated",
    "results.json": "evaluated/predictions.json",
    "predictions.json": "evaluated/predictions.json",
    "instances_val2017.json": "instances.json",
}

#: Options that make a training a matter of seconds.
QUICK = ["--iterations", "2", "--batch-size", "2", "--eval-every", "0", "--short-edge", "64"]
REPLACED = ("--iterations", "--epochs", "--batch-size", "--lr", "--rois-per-image", "--gpus")

OWN = [
    *("--train-annotations", "train.json", "--train-images", "photos"),
    *("--val-annotations", "val.json", "--val-images", "photos"),
]


def commands_of(page: Path) -> Iterator[list[str]]:
    """The harness commands of a document's shell blocks, in order."""
    for block in re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["harness"]:
                yield words[1:]


def reason_against(words: list[str]) -> str | None:
    """Why a command is not run here; None where it is."""
    line = shlex.join(words)
    return next((why for pattern, why in REASONS.items() if re.search(pattern, line)), None)


def without_options(words: list[str], options: tuple[str, ...]) -> list[str]:
    """The words without some options and their values."""
    kept: list[str] = []
    skipping = False
    for word in words:
        if not skipping and word not in options:
            kept.append(word)
        skipping = word in options
    return kept


def quick(words: list[str], project: Path, embedded: Path) -> list[str]:
    """The command with the embedded model and little data; outputs may be there already."""
    if words[0] == "download":  # no test has a network
        return [*words, "--dry-run"]
    words = [SMALL.get(word, word) for word in words]
    if words[0] in ("train", "predict", "show") and "--output" in words:
        shutil.rmtree(project / words[words.index("--output") + 1], ignore_errors=True)
    if words[0] == "train":
        kept = without_options(words, REPLACED)
        kept += [] if "--train-annotations" in kept else OWN
        kept += [] if "--init" in kept else ["--init", "none"]
        return [*kept, *QUICK, "--device", "cpu", "--threads", "1"]
    if words[0] == "eval" and not {"--annotations", "--config"} & set(words):
        words = ["2" if word == "8" else word for word in words]  # workers
        return [*words, "--root", str(embedded), "--limit", "2"]
    if words[:2] == ["weights", "check"]:
        return [*words, "--annotations", "train.json"]
    return words


@pytest.fixture
def prepared(small_coco: Path, project: Path) -> Path:
    """A project with what the documents call theirs: photos, and annotation files about them."""
    shutil.copytree(small_coco / "images", project / "photos")
    content = json.loads((small_coco / "annotations.json").read_text("utf-8"))
    for row in content["images"]:
        row["tags"] = ["good"]
    for name in ("pets", "train", "val", "test", "instances", "odd", "clean"):
        (project / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    first = content["images"][0]
    shutil.copy(project / "photos" / first["file_name"], project / "photo.jpg")
    (project / "names.txt").write_text(first["file_name"] + "\n", encoding="utf-8")
    _write_labelme(content, project / "photos")
    return project


def _write_labelme(content: dict[str, list[dict[str, object]]], folder: Path) -> None:
    """labelme's files beside the images, with a rectangle's outline for each object."""
    for image in content["images"]:
        shapes = []
        for row in content["annotations"]:
            if row["image_id"] == image["id"]:
                x, y, width, height = row["bbox"]  # type: ignore[misc]
                points = [[x, y], [x + width, y], [x + width, y + height], [x, y + height]]
                shapes.append({"label": "cat", "points": points, "shape_type": "polygon"})
        facts = {
            "imagePath": image["file_name"],
            "imageHeight": image["height"],
            "imageWidth": image["width"],
        }
        name = Path(str(image["file_name"])).with_suffix(".json").name
        (folder / name).write_text(json.dumps({**facts, "shapes": shapes}), encoding="utf-8")


@pytest.fixture
def stocked(prepared: Path, harness: Callable[..., Answer]) -> Path:
    """The project with an evaluation, a training, an export and folders of other programs."""
    data = ["--annotations", "instances.json", "--images", "photos"]
    assert harness("eval", "--engine", "fake", *data, "--output", "evaluated").code == 0
    _write_indices(prepared)
    trained = quick(["train", "--init", "zoo", "--output", "run"], prepared, prepared)
    answer = harness(*trained)
    assert answer.code == 0, answer.err
    lines = [json.dumps({"iteration": step, "total_loss": 2.0}) for step in range(20, 620, 20)]
    (prepared / "metrics.json").write_text("\n".join(lines), encoding="utf-8")
    photos = prepared / "photos"
    for folder in ("images", "data"):  # of Open Images, and of FiftyOne
        shutil.copytree(photos, prepared / "ducks" / folder)
    for name in ("instances", "labels", "train", "val"):
        shutil.copy(prepared / "train.json", prepared / "ducks" / f"{name}.json")
    (prepared / "more").mkdir()
    shutil.copy(prepared / "photo.jpg", prepared / "more" / "one.png")
    _write_export(prepared)
    return prepared


def _write_indices(project: Path) -> None:
    """The predictions with class indices from 0 for category ids."""
    known = json.loads((project / "instances.json").read_text("utf-8"))["categories"]
    places = {number: at for at, number in enumerate(sorted(one["id"] for one in known))}
    rows = json.loads((project / "evaluated" / "predictions.json").read_text("utf-8"))
    for row in rows:
        row["category_id"] = places[row["category_id"]]
    (project / "indices.json").write_text(json.dumps(rows), encoding="utf-8")


def _write_export(project: Path) -> None:
    """Label Studio's export of the images, with a polygon each."""
    points = [[10, 10], [50, 10], [50, 50]]
    tasks = []
    images = json.loads((project / "train.json").read_text("utf-8"))["images"]
    for number, image in enumerate(images, start=1):
        region = {
            "type": "polygonlabels",
            "value": {"points": points, "polygonlabels": ["cat"]},
            "original_width": image["width"],
            "original_height": image["height"],
        }
        annotation = {"id": number, "result": [region], "was_cancelled": False}
        address = f"/data/upload/3/1a2b3c4d-{image['file_name']}"
        tasks.append({"id": number, "data": {"image": address}, "annotations": [annotation]})
    (project / "export.json").write_text(json.dumps(tasks), encoding="utf-8")


def _tag(project: Path) -> None:
    """Give tags and the categories of the document to the converted file, which has none."""
    content = json.loads((project / "pets.json").read_text("utf-8"))
    for row in content["images"]:
        row["tags"] = ["good"]
    known = {row["name"] for row in content["categories"]}
    content["categories"] += [
        {"id": 100 + at, "name": name}
        for at, name in enumerate(("cat", "dog"))
        if name not in known
    ]
    (project / "pets.json").write_text(json.dumps(content), encoding="utf-8")


PAGES = sorted(path.name for path in DOCS.glob("*.md") if path.name not in ELSEWHERE)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", [name for name in PAGES if [*commands_of(DOCS / name)]])
def test_every_command_of_a_document_runs(
    page: str, harness: Callable[..., Answer], stocked: Path, embedded_root: Path
) -> None:
    for words in commands_of(DOCS / page):
        if reason_against(words) is not None:
            continue
        if "--tags" in words:
            _tag(stocked)
        answer = harness(*quick(words, stocked, embedded_root))
        assert answer.code == 0, f"harness {shlex.join(words)}\n{answer.err}"


def test_what_is_not_run_has_a_reason_that_is_true() -> None:
    every = [words for page in DOCS.glob("*.md") for words in commands_of(page)]
    assert len(every) > 90
    left_out = [words for words in every if reason_against(words) is not None]
    for pattern in REASONS:
        assert any(re.search(pattern, shlex.join(words)) for words in left_out), pattern
    assert len(left_out) <= 16, "too much is left out to say that the commands are run"
    tests = REPOSITORY / "tests"
    named = re.findall(r"\b(?:tests/)?[\w/]*test_\w+\.py", " ".join(REASONS.values()))
    for name in (*named, *(one.partition("::")[0] for one in ELSEWHERE.values())):
        place = REPOSITORY if name.startswith("tests/") else tests / "end_to_end"
        assert (place / name).is_file(), name
    for page, test in ELSEWHERE.items():
        file, _, function = test.partition("::")
        text = (tests / "end_to_end" / file).read_text("utf-8")
        assert f"def {function}(" in text
        assert page in text
