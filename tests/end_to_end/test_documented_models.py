"""The commands of the documents about models, serving and export, run with small networks."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.zoo.architectures import architecture_of
from harness.zoo.seeded import seeded_checkpoint
from harness.zoo.weights import write_checkpoint
from tests.end_to_end.conftest import Answer
from tests.end_to_end.test_documented_commands import (  # noqa: F401  a fixture
    DOCS,
    QUICK,
    REPLACED,
    commands_of,
    prepared,
    without_options,
)

#: Networks of this size take minutes where other work is done beside the tests.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

#: The lightest of torchvision's detectors; its weights here are generated.
LIGHT = "fasterrcnn_mobilenet_v3_large_fpn"

#: Words of the documents, and what stands for them here.
SMALL = {
    "R_50_FPN_3x": "tiny",
    "R_50_FPN_1x": "tiny",
    "torchvision_maskrcnn_resnet50_fpn": f"torchvision_{LIGHT}",
    "iteration-0001000": "iteration-0000002",
}

#: 2,000 scenes to learn and 64 to evaluate take minutes; five images of each do here.
EMBEDDED = ["--dataset", "synthetic_train"]
FIVE_IMAGES = [
    *("--train-annotations", "train.json", "--train-images", "photos"),
    *("--val-annotations", "val.json", "--val-images", "photos"),
]

#: Options that make a measurement a matter of seconds.
AT_ONCE = ["--limit", "2", "--warmup", "0", "--repeats", "1", "--min-duration", "0"]


@pytest.fixture
def stocked(prepared: Path, harness: Callable[..., Answer]) -> Path:  # noqa: F811
    """The project, with weights of the user's, and data that has COCO's number of categories."""
    content = json.loads((prepared / "instances.json").read_text("utf-8"))
    light = replace(architecture_of(LIGHT), class_count=len(content["categories"]))
    tensors = {key: torch.from_numpy(value) for key, value in seeded_checkpoint(light).items()}
    torch.save(tensors, prepared / "mine.pth")
    write_checkpoint(prepared / "published.safetensors", seeded_checkpoint(architecture_of(LIGHT)))
    known = {row["id"] for row in content["categories"]}
    more = [{"id": one, "name": f"class {one}"} for one in range(1, 200) if one not in known]
    content["categories"] += more[: 80 - len(known)]
    (prepared / "coco.json").write_text(json.dumps(content), encoding="utf-8")
    for name in ("a.jpg", "b.jpg"):
        shutil.copy(prepared / "photo.jpg", prepared / name)
    parts = ("train", "val")
    own = [[f"--{one}-annotations", "train.json", f"--{one}-images", "photos"] for one in parts]
    pairs = [word for words in own for word in words]
    quick = ["--init", "zoo", *pairs, *QUICK, "--output", "run", "--device", "cpu"]
    trained = harness("train", "--model", "tiny", *quick, "--threads", "1")
    assert trained.code == 0, trained.err
    return prepared


def spoken(words: Sequence[str]) -> list[str]:
    """The words of a command, with the names of what is here."""
    return [
        "/".join(SMALL.get(part, part) for part in word.split("/"))
        if "/" in word
        else SMALL.get(word, word)
        for word in words
    ]


def trained_quickly(words: Sequence[str]) -> list[str]:
    """A training of two iterations, evaluated at its end, from weights that are here."""
    if EMBEDDED[1] in words:
        at = words.index(EMBEDDED[0])
        words = [*words[:at], *FIVE_IMAGES, *words[at + len(EMBEDDED) :]]
    kept = without_options(list(words), REPLACED)
    kept += [] if "--train-annotations" in kept else FIVE_IMAGES  # instead of COCO
    if "--init" in kept:
        at = kept.index("--init") + 1
        light = f"torchvision_{LIGHT}" in kept
        kept[at] = "mine.pth" if light else {"imagenet": "none"}.get(kept[at], kept[at])
    shorter = [
        word for word in QUICK if word not in ("--short-edge", "64") or "--short-edge" not in kept
    ]
    return [*kept, *shorter, "--device", "cpu", "--threads", "1"]


def on_small_data(words: list[str]) -> list[str]:
    """The command on the images of the project, where the document means COCO's."""
    if words[0] not in ("eval", "bench"):
        return words
    if "--annotations" in words:
        return [*words, "--limit", "2"]
    if f"torchvision_{LIGHT}" in words and "--weights" not in words:
        words = [*words, "--weights", "published.safetensors"]
    measured = AT_ONCE if words[0] == "bench" else ["--limit", "2"]
    return [*words, "--annotations", "coco.json", "--images", "photos", *measured]


@pytest.mark.long
def test_commands_about_models_run(harness: Callable[..., Answer], stocked: Path) -> None:
    for words in commands_of(DOCS / "models.md"):
        line = shlex.join(words)
        if words[0] == "download":  # no test has a network
            assert harness(*words, "--dry-run").code == 0, line
            continue
        words = spoken(words)
        words = trained_quickly(words) if words[0] == "train" else on_small_data(words)
        if "--output" in words and words[0] == "train":
            shutil.rmtree(stocked / words[words.index("--output") + 1], ignore_errors=True)
        answer = harness(*words)
        assert answer.code == 0, f"harness {line}\n{answer.err}"
    # Of two trainings, the best evaluations are compared.
    pair = harness("compare", "results/light", "results/heavy")
    assert pair.code == 0, pair.err
    assert "bbox/AP" in pair.out


@pytest.fixture
def served(stocked: Path) -> Iterator[Callable[[Sequence[str]], str]]:
    """Starts a service; gives its address."""
    running: list[subprocess.Popen[str]] = []

    def start(words: Sequence[str]) -> str:
        command = [sys.executable, "-m", "harness", *words, "--port", "0", "--threads", "1"]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        running.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"at (http://\S+)$", line)
        assert found, (line, process.communicate()[1])
        return found[1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_commands_about_serving_run(served: Callable[[Sequence[str]], str], stocked: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    pytest.importorskip("fastapi", reason="needs the packages of the extra serve")
    text = (DOCS / "serving.md").read_text(encoding="utf-8")
    lines = [
        shlex.split(line)
        for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
        for line in block.replace("\\\n", " ").splitlines()
    ]
    requests = [words for words in lines if words[0] == "curl"]
    services = [spoken(words[1:]) for words in lines if words[:2] == ["harness", "serve"]]
    assert (len(services), len(requests)) == (2, 5)
    for service in services:
        address = served(service)
        for words in requests:
            asked = [word.replace("http://127.0.0.1:8000", address) for word in words]
            done = subprocess.run(
                [*asked, "--fail-with-body", "--silent"], capture_output=True, timeout=120
            )
            assert done.returncode == 0, (shlex.join(words), done.stdout[:500])
            if "format=json" in shlex.join(words):
                json.loads(done.stdout)
    assert (stocked / "found.png").stat().st_size > 100
    assert (stocked / "found.jpg").stat().st_size > 100


@pytest.mark.long
def test_commands_about_export_run(
    harness: Callable[..., Answer],
    stocked: Path,
    exported_tiny: Path,
    exported_pt2: Path,
    embedded_root: Path,
    embedded_folder: Path,
) -> None:
    pytest.importorskip("onnxruntime", reason="needs the packages of the extra onnx")
    # Scenes, as an export without --images takes them: plain pictures have equal scores.
    scenes = str(embedded_folder / "images")
    for file in (exported_tiny, exported_pt2):  # by the same command
        shutil.copy(file, stocked / f"model{file.suffix}")
    default = stocked / "datasets" / "exported" / "tiny.onnx"
    default.parent.mkdir(parents=True)
    shutil.copy(exported_tiny, default)
    text = (DOCS / "export.md").read_text(encoding="utf-8")
    (quantise,) = re.findall(r"```python\n(from onnxruntime\.quant.*?)```", text, re.DOTALL)
    exec(compile(quantise, "docs/export.md", "exec"), {})
    for words in commands_of(DOCS / "export.md"):
        line = shlex.join(words)
        words = spoken(words)
        if words[0] == "export":
            if words[-1] in ("model.onnx", "model.pt2"):
                continue  # the fixtures have run it
            if words[-1] == "detector.onnx":
                words += ["--weights", "published.safetensors"]
            elif f"torchvision_{LIGHT}" in words:
                words[words.index("--weights") + 1] = "mine.pth"
            words += ["--images", scenes, "--limit", "1", "--threads", "1"]
        elif words[0] == "eval" and "--annotations" not in words:
            words += ["--root", str(embedded_root), "--limit", "4", "--threads", "1"]
        answer = harness(*words)
        # Quantised numbers differ, which is what the document runs the comparison for.
        expected = (0, 1) if "int8.onnx" in words and words[0] == "parity" else (0,)
        assert answer.code in expected, f"harness {line}\n{answer.out}\n{answer.err}"
