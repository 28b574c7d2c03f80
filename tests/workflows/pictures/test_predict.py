"""``harness predict`` with the embedded model: what it leaves, and what it survives."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from harness.core.detections import Detections
from harness.core.drawing import DrawingStyle
from harness.core.engine import Engine
from harness.core.errors import AnotherRunError, RunFailedError, UsageError
from harness.core.progress import Silent
from harness.core.requests.inference import InferenceRequest
from harness.core.requests.pictures import PredictRequest
from harness.core.results import PredictReport
from harness.data.coco import read_annotations, read_dataset
from harness.data.run_dataset import facts_of_dataset
from harness.data.synthetic import scene
from harness.files.json import to_plain
from harness.workflows.evaluation.resolve import Job, open_job_engine
from harness.workflows.pictures.predict import predict
from harness.workflows.runs.files import RunFile
from harness.workflows.runs.folder import utc_now
from harness.zoo.checkpoints import EMBEDDED
from tests.composing import composed

Predict = Callable[..., PredictReport]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four scenes, one of them on its side in its file, and two files that are not pictures."""
    folder = tmp_path_factory.mktemp("some photos")
    (folder / "deep").mkdir()
    names = ("a.png", "b.png", "deep/it's 100%.png", "turned.png")
    for number, name in enumerate(names, start=1):
        pixels, _ = scene(np.random.default_rng(number), number)
        picture = PillowImage.fromarray(pixels)
        exif = PillowImage.Exif()
        if name == "turned.png":
            exif[274] = 6
        picture.save(folder / name, exif=exif)
    content = (folder / "a.png").read_bytes()
    (folder / "cut.png").write_bytes(content[: len(content) // 2])
    (folder / "text.jpg").write_text("no picture", encoding="utf-8")
    return folder


@pytest.fixture
def predicted(photos: Path, tmp_path: Path) -> Predict:
    """Run ``predict`` on the scenes, fields of its request as keywords."""

    def run(output: Path, **given: Any) -> PredictReport:
        inference = composed(
            InferenceRequest, root=tmp_path, threads=1, **given.pop("inference", {})
        )
        open_engine = given.pop("open_engine", open_job_engine)
        paths = given.pop("paths", (str(photos / "*.png"), str(photos / "deep")))
        return predict(
            PredictRequest(paths=paths, inference=inference, output=output, **given),
            progress=Silent(),
            command=("harness", "predict"),
            now=utc_now(),
            open_engine=open_engine,
        )

    return run


def test_what_it_leaves(predicted: Predict, photos: Path, odd_tmp_path: Path) -> None:
    report = predicted(odd_tmp_path, paths=(str(photos),))
    content = read_annotations(odd_tmp_path / report.predictions)
    names = [image["file_name"] for image in content["images"]]
    assert names == ["a.png", "b.png", "deep/it's 100%.png", "turned.png"]
    assert [one.file for one in report.unreadable] == ["cut.png", "text.jpg"]
    assert "not an image" in report.unreadable[1].reason
    assert report.detections == len(content["annotations"]) > 5
    assert sum(one.detections for one in report.by_category) == report.detections
    assert all(row["score"] >= 0.5 for row in content["annotations"])
    for image in content["images"]:
        with PillowImage.open(odd_tmp_path / image["picture"]) as picture:
            assert picture.size == (image["width"], image["height"])
    saved = json.loads((odd_tmp_path / "predict.json").read_text("utf-8"))
    assert saved["images"] == 4
    assert "text.jpg" in (odd_tmp_path / "index.html").read_text("utf-8")


def test_a_picture_that_no_network_takes_is_told_of(predicted: Predict, tmp_path: Path) -> None:
    PillowImage.new("RGB", (3000, 1)).save(tmp_path / "thin.png")
    report = predicted(tmp_path / "run", paths=(str(tmp_path / "thin.png"),))
    assert report.images == 0
    assert report.unreadable[0].file == "thin.png"
    assert "too narrow" in report.unreadable[0].reason


def test_masked_pixels_are_counted_once(predicted: Predict, tmp_path: Path) -> None:
    report = predicted(tmp_path / "run")
    content = read_annotations(tmp_path / "run" / report.predictions)
    for image in content["images"]:
        areas = [row["area"] for row in content["annotations"] if row["image_id"] == image["id"]]
        pixels = image["height"] * image["width"]
        assert max(areas, default=0) <= image["masked_share"] * pixels + 1e-6
        assert image["masked_share"] * pixels <= sum(areas) + 1e-6


def test_orientation_is_what_an_evaluation_sees(predicted: Predict, tmp_path: Path) -> None:
    report = predicted(tmp_path / "run")
    content = json.loads((tmp_path / "run" / report.predictions).read_text("utf-8"))
    turned = next(one for one in content["images"] if one["file_name"] == "turned.png")
    with PillowImage.open(Path(content["info"]["images_dir"]) / "turned.png") as stored:
        assert (turned["height"], turned["width"]) == stored.size


def test_a_low_threshold_reaches_below_the_recipe(predicted: Predict, tmp_path: Path) -> None:
    counts = [
        predicted(tmp_path / str(threshold), style=DrawingStyle(threshold=threshold)).detections
        for threshold in (0.9, 0.05, 0.01)
    ]
    assert counts[0] < counts[1] < counts[2]


def test_batches_find_the_same(predicted: Predict, tmp_path: Path) -> None:
    counts = [
        predicted(tmp_path / str(size), pictures="none", inference={"batch_size": size})
        for size in (1, 3)
    ]
    assert counts[0].by_category == counts[1].by_category
    assert counts[0].page is None
    assert not (tmp_path / "1" / "index.html").exists()


def test_what_was_inferred_before_a_crash_is_not_repeated(
    predicted: Predict, tmp_path: Path
) -> None:
    predicted(tmp_path / "whole")
    seen: list[int] = []

    def failing(job: Job) -> Engine:
        return Counting(open_job_engine(job), seen, fail_at=4)

    with pytest.raises(RunFailedError, match="inference failed at image 4"):
        predicted(tmp_path / "run", open_engine=failing)
    assert seen == [1, 2, 4]
    assert not (tmp_path / "run" / "predictions.json").exists()

    def counting(job: Job) -> Engine:
        return Counting(open_job_engine(job), seen, fail_at=None)

    seen.clear()
    report = predicted(tmp_path / "run", open_engine=counting, resume=True)
    assert seen == [4, 5]
    assert [one.file for one in report.unreadable] == ["cut.png"]
    for name in ("predictions.json", "pictures/a.jpg", "small/000001.jpg"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_another_style_does_not_continue_a_run(predicted: Predict, tmp_path: Path) -> None:
    def failing(job: Job) -> Engine:
        return Counting(open_job_engine(job), [], fail_at=4)

    with pytest.raises(RunFailedError):
        predicted(tmp_path / "run", open_engine=failing)
    with pytest.raises(AnotherRunError, match=r"style\.opacity"):
        predicted(tmp_path / "run", style=DrawingStyle(opacity=0.2), resume=True)


def test_a_finished_run_is_not_begun_again(predicted: Predict, tmp_path: Path) -> None:
    predicted(tmp_path / "run")
    with pytest.raises(UsageError, match="finished"):
        predicted(tmp_path / "run")
    with pytest.raises(UsageError, match="finished"):
        predicted(tmp_path / "run", resume=True)


@pytest.mark.parametrize("name", ["predictions.json", "predict.json"])
def test_a_damaged_finished_run_is_made_whole(
    name: str, predicted: Predict, tmp_path: Path
) -> None:
    predicted(tmp_path / "run")
    path = tmp_path / "run" / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-20] + b" " + whole[-19:])
    seen: list[int] = []

    def counting(job: Job) -> Engine:
        return Counting(open_job_engine(job), seen, fail_at=None)

    predicted(tmp_path / "run", open_engine=counting, resume=True)
    assert seen == []
    assert path.read_bytes() == whole


def test_the_fake_engine_is_refused(predicted: Predict, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ground truth"):
        predicted(tmp_path / "run", inference={"engine": "fake"})


def test_weights_of_a_training_bring_their_classes(
    predicted: Predict, small_coco: Path, tmp_path: Path
) -> None:
    """Names of their own, and as many as the network has."""
    content = json.loads((small_coco / "annotations.json").read_text("utf-8"))
    for category in content["categories"]:
        category["name"] = f"own {category['id']}"
    (tmp_path / "learned.json").write_text(json.dumps(content), encoding="utf-8")
    training = tmp_path / "training"
    training.mkdir()
    shutil.copy(EMBEDDED / "tiny.safetensors", training / "model_last.safetensors")
    facts = facts_of_dataset(read_dataset(tmp_path / "learned.json", small_coco / "images"))
    run = RunFile(run_id="one", kind="train", request={}, dataset=facts)
    (training / "run.json").write_text(json.dumps(to_plain(run)), encoding="utf-8")
    weights = {"weights": training / "model_last.safetensors"}
    report = predicted(tmp_path / "run", inference=weights, pictures="none")
    assert {one.name.split()[0] for one in report.by_category} == {"own"}


class Counting:
    """An engine that writes down what it is asked, and may fail."""

    def __init__(self, engine: Engine, seen: list[int], *, fail_at: int | None) -> None:
        self._engine, self._seen, self._fail_at = engine, seen, fail_at
        self.info = engine.info

    def infer(self, prepared: Sequence[Any], stopwatch: Any) -> list[Detections]:
        self._seen.extend(one.image_id for one in prepared)
        if any(one.image_id == self._fail_at for one in prepared):
            raise RuntimeError("told to fail here")
        return self._engine.infer(prepared, stopwatch)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)
