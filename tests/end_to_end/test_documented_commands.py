"""The commands of the documents, run as they are on small data, with a small model."""

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

#: Commands that need nothing but data, weights and this machine.
RUN = {"show", "predict", "train", "eval", "compare"}
ACTIONS = {"convert", "check", "clean", "split", "merge", "subset"}

#: Words of what is not here: COCO, published checkpoints, several devices, extras, placeholders;
#: and of tags, which converted files have not.
NEEDS = re.compile(
    r"--gpus|--nproc|onnx|--resume|--mirror|RUN\b|MobileNet|torchvision_|--dry-run|--workers|--engine|"
    r"FILE|FOLDER|DIR|--keypoints|\*|--reference-curve|ducks/|results/|http|keypoint|--tags"
)

#: Names and numbers of the documents, and those of the small project.
SMALL = {"R_50_FPN_3x": "tiny", "3,17,20": "1,2"}

#: Options that make a training a matter of seconds.
QUICK = ["--iterations", "2", "--batch-size", "2", "--eval-every", "0", "--short-edge", "64"]
REPLACED = ("--iterations", "--epochs", "--batch-size", "--lr", "--rois-per-image")


def commands_of(page: Path) -> Iterator[list[str]]:
    """The harness commands of a document's shell blocks, in order."""
    for block in re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["harness"]:
                yield words[1:]


def runnable(words: list[str]) -> bool:
    """Whether a command can be run on small data."""
    if NEEDS.search(shlex.join(words)):
        return False
    if words[0] == "data":
        return words[1] in ACTIONS
    if words[0] == "show":
        return "--annotations" in words
    if words[0] in ("eval", "train"):
        return any(word.endswith("annotations") for word in words)
    return words[0] in RUN and words[0] != "compare"


def quick(words: list[str], project: Path) -> list[str]:
    """The command with the embedded model; a training is short, and may be given twice."""
    words = [SMALL.get(word, word) for word in words]
    if words[0] != "train":
        return words
    kept: list[str] = []
    skipping = False
    for word in words:
        if not skipping and word not in REPLACED:
            kept.append(word)
        skipping = word in REPLACED
    if "--output" in kept:
        shutil.rmtree(project / kept[kept.index("--output") + 1], ignore_errors=True)
    return [*kept, *QUICK, "--device", "cpu", "--threads", "1"]


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


#: Pages, and how many of their commands are run at least.
PAGES = [
    pytest.param("own-data.md", 9, marks=pytest.mark.slow),
    pytest.param("training.md", 1, marks=pytest.mark.slow),
    pytest.param("pictures.md", 1, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("page", "least"), PAGES)
def test_commands_of_a_document_run(
    page: str, least: int, harness: Callable[..., Answer], prepared: Path
) -> None:
    done = 0
    for words in commands_of(DOCS / page):
        if not runnable(words):
            continue
        if not _is_here(words, prepared):
            continue
        answer = harness(*quick(words, prepared))
        assert answer.code == 0, f"harness {shlex.join(words)}\n{answer.err}"
        done += 1
    assert done >= least, f"only {done} commands of {page} could be run"


def _is_here(words: list[str], project: Path) -> bool:
    """Whether the files that a command reads are in the project."""
    written = {words[at + 1] for at, word in enumerate(words[:-1]) if word == "--output"}
    files = [word for word in words if word.endswith((".json", ".safetensors", ".txt", ".jpg"))]
    return all(name in written or (project / name).exists() for name in files)


#: Files and runs of the documents, and those of the test.
EVALUATED = {
    "results/runs/20260101-120000-eval-R_50_FPN_3x-native-a1b2c3": "run",
    "RUN": "run",
    "OTHER_RUN": "run",
    "results.json": "run/predictions.json",
    "instances_val2017.json": "instances.json",
}


@pytest.mark.parametrize(("page", "least"), [("analysis.md", 3), ("diagnose.md", 3)])
def test_commands_about_a_run_run(
    page: str, least: int, harness: Callable[..., Answer], prepared: Path
) -> None:
    data = ["--annotations", "instances.json", "--images", "photos"]
    assert harness("eval", "--engine", "fake", *data, "--output", "run").code == 0
    done = 0
    for words in commands_of(DOCS / page):
        if words[0] in ("analyze", "diagnose"):
            answer = harness(*(EVALUATED.get(word, word) for word in words))
            assert answer.code == 0, f"harness {shlex.join(words)}\n{answer.err}"
            done += 1
    assert done >= least, f"only {done} commands of {page} could be run"


def test_runnable_commands_are_told_from_others() -> None:
    assert runnable(["data", "check", "train.json", "--images", "photos"])
    assert not runnable(["train", "--model", "R_50_FPN_1x", "--gpus", "8"])
    assert not runnable(["data", "openimages", "--classes", "Duck"])
    assert len(list(commands_of(DOCS / "own-data.md"))) > 15
