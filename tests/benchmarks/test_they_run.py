"""Every benchmark in its smallest size: that it runs, and says where and how often it measured.

What it measured means nothing here.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import harness
from tests.conftest import SHARED_DATA, write_small_coco
from tests.slurm.cluster import missing_packages

pytestmark = pytest.mark.slow

#: The words after each benchmark's name; {data} is a folder with annotations.json and images.
TINY = {
    "analysis_time": "--images 10",
    "coco_size": "eval --folder {data}/coco_size --images 2 --objects 4 --repeats 1",
    "decode_threads": "{data}/photos --repeats 1",
    "diagnosed_faults": "--shared ../shared/data --singles 1 --pairs 1 --healthy 1",
    "diagnosis_time": "--images 10",
    "download_vs_curl": "--megabytes 1 --repeats 1",
    "draw_vs_detectron2": "--annotations {data}/annotations.json --images {data}/images "
    "--count 2 --repeats 1",
    "eval_vs_detectron2": "--model tiny --annotations {data}/annotations.json "
    "--images {data}/images --limit 2 --device cpu",
    "forward_vs_detectron2": "--architecture tiny --images {data}/images --count 1 --repeats 1 "
    "--device cpu --threads 1",
    "families": "--models tiny --images {data}/images --count 1 --repeats 1",
    "gpu": "--annotations {data}/annotations.json --images {data}/images --count 1 --repeats 1",
    "history_year": "--nights 10 --repeats 1",
    "interval_coverage": "--kind crowded --images 20 --data-sets 2 --resamples 5",
    "onnx_vs_native": "--model tiny --images {data}/images --count 1 --repeats 1 --threads 1",
    "score_vs_pycocotools": "--images 10",
    "serve_overhead": "--images {data}/images --count 1 --repeats 1 --threads 1 --clients 2",
    "startup": "--repeats 1",
    "structure": "",
    "submit_overhead": "--engine fake --repeats 1",
    "train_vs_detectron2": "--architecture tiny --annotations {data}/annotations.json "
    "--images {data}/images --short-edge 64 --repeats 1 --device cpu --threads 1",
    "workers": "--model tiny --weights {data}/tiny.safetensors --limit 2 --repeats 1 --threads 1 "
    "--annotations {data}/annotations.json --images {data}/images",
}

#: What the others measure with.
SHARED = {
    "pairs",
    "broken_predictions",
    "simulated_scenes",
    "labelled_photos",
    "gpu_table",
    "gpu_parts",
}


def missing(name: str) -> str | None:
    """Why a benchmark cannot run here."""
    if name == "gpu" and not Path("/dev/nvidiactl").exists():
        return "needs an NVIDIA GPU"
    if (name.endswith("_vs_detectron2") or name == "families") and importlib.util.find_spec(
        "detectron2"
    ) is None:
        return "needs detectron2"
    if name == "diagnosed_faults" and not SHARED_DATA.is_dir():
        return "needs the real test data in ../shared/data, beside the checkout"
    if name == "draw_vs_detectron2" and importlib.util.find_spec("cv2") is None:
        return "needs what detectron2's Visualizer needs: opencv-python-headless"
    if name == "onnx_vs_native" and importlib.util.find_spec("onnxscript") is None:
        return "needs the packages of the extra onnx"
    if name == "download_vs_curl" and not all(map(shutil.which, ("curl", "sha256sum"))):
        return "needs curl and sha256sum"
    if name == "submit_overhead" and missing_packages():
        return f"needs SLURM: apt-get install {' '.join(missing_packages())}"
    return None


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """What benchmarks are given: a data set, two photos and weights of the smallest model."""
    folder = write_small_coco(tmp_path_factory.mktemp("data"))
    (folder / "photos").mkdir()
    for number in range(2):
        picture = Image.linear_gradient("L").convert("RGB")
        picture.save(folder / "photos" / f"{number}.jpg")
    words = ["weights", "seeded", "--model", "tiny", "--output", folder / "tiny.safetensors"]
    command = [sys.executable, "-m", "harness", *words]
    subprocess.run(command, cwd=repository, check=True, capture_output=True)
    return folder


def test_every_benchmark_is_here(repository: Path) -> None:
    assert {path.stem for path in (repository / "benchmarks").glob("*.py")} == TINY.keys() | SHARED


@pytest.mark.parametrize("name", TINY)
def test_it_runs(name: str, data: Path, repository: Path, tmp_path: Path) -> None:
    reason = missing(name)
    if reason is not None:
        pytest.skip(reason)
    output = tmp_path / "result.json"
    words = [word.format(data=data) for word in TINY[name].split()]
    done = subprocess.run(
        [sys.executable, f"benchmarks/{name}.py", *words, "--output", str(output)],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(output.read_text("utf-8"))
    assert json.loads(done.stdout) == result
    assert {"cpu", "cpu_count", "packages", "load_average"} <= result["environment"].keys()
    assert result["settings"]["repeats"] == 1
    assert result["date"]


def test_labelled_photos_are_converted_back(data: Path, repository: Path, tmp_path: Path) -> None:
    content = json.loads((data / "annotations.json").read_text("utf-8"))
    names = ",".join(one["name"] for one in content["categories"])
    words = ["--annotations", data / "annotations.json", "--images", data / "images"]
    words += ["--output", tmp_path / "labelled", "--categories", names]
    command = [sys.executable, "benchmarks/labelled_photos.py", *map(str, words)]
    subprocess.run(command, cwd=repository, check=True, capture_output=True)
    objects = [row for row in content["annotations"] if not row["iscrowd"]]
    for source in ("photos", "export.json"):
        target = tmp_path / f"{source}.coco.json"
        images = tmp_path / "labelled" / "photos"
        harness.convert(tmp_path / "labelled" / source, images=images, output=target)
        found = json.loads(target.read_text("utf-8"))
        assert len(found["annotations"]) == len(objects), source
        assert {row["file_name"] for row in found["images"]} == {
            path.name for path in images.iterdir() if path.suffix != ".json"
        }
