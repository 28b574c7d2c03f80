"""The functions of the API on the small data set: what they return and raise."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timezone
from pathlib import Path

import pytest

import harness
from harness.api.settings import composed
from harness.cli.main import run
from harness.core.progress import Advance
from harness.core.requests.inference import BenchRequest, EvalRequest, TimingOptions
from harness.core.requests.signatures import keywords_of
from harness.core.requests.training import ScheduleConfig, TrainRequest


@pytest.fixture
def data(small_coco: Path, tmp_path: Path) -> dict[str, Path]:
    return {
        "annotations": small_coco / "annotations.json",
        "images": small_coco / "images",
        "root": tmp_path / "datasets",
    }


def test_an_evaluation_is_that_of_the_command(data: dict[str, Path], tmp_path: Path) -> None:
    ours = harness.evaluate(engine="fake", output=tmp_path / "ours", **data)
    words = [f"--{name}={path}" for name, path in data.items()]
    assert run(["eval", "--engine", "fake", *words, "--output", str(tmp_path / "theirs")]) == 0
    assert ours.folder == tmp_path / "ours"
    assert ours.metrics["bbox/AP"] == pytest.approx(100)
    assert ours.passed
    assert "NO REFERENCE" in ours.verdict.line
    assert ours.predictions_path.read_bytes() == (tmp_path / "theirs/predictions.json").read_bytes()
    assert ours.per_category_path.is_file()
    with pytest.raises(harness.UsageError, match="it has: "):
        ours.path_of("weights")
    saved = json.loads((ours.folder / "record.json").read_text(encoding="utf-8"))
    assert saved["command"][:2] == ["harness", "eval"]
    assert "--engine" in saved["command"]


def test_the_recorded_command_line_parses_to_the_same_request(
    data: dict[str, Path], tmp_path: Path
) -> None:
    ours = harness.evaluate(engine="fake", limit=2, output=tmp_path / "ours", **data)
    words = [*ours.record.command[1:], "--output", str(tmp_path / "again")]
    assert run(words) == 0
    again = json.loads((tmp_path / "again" / "record.json").read_text(encoding="utf-8"))
    kept = {key: value for key, value in ours.record.request.items() if key != "output"}
    assert {key: value for key, value in again["request"].items() if key != "output"} == kept


def test_a_run_that_was_asked_for_earlier_says_when(data: dict[str, Path], tmp_path: Path) -> None:
    begun = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    for function in (harness.evaluate, harness.benchmark):
        result = function(
            engine="fake", limit=1, **data, output=tmp_path / function.__name__, begun=begun
        )
        assert result.record.created_utc == "2026-01-02T03:04:05+00:00"


@pytest.mark.parametrize(
    ("function", "asked"),
    [
        ("evaluate", EvalRequest(output=Path("run"), workers=2, resume=True)),
        ("benchmark", BenchRequest(timing=TimingOptions(repeats=9))),
        ("train", TrainRequest(schedule=ScheduleConfig(iterations=3))),
    ],
)
def test_a_request_is_made_again_of_its_keywords(function: str, asked: object) -> None:
    given = keywords_of(function, asked)
    assert composed(function, type(asked), given) == asked


def test_progress_is_silent_unless_asked(
    data: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    class Kept:
        def __init__(self) -> None:
            self.told: list[str] = []

        def task(
            self, title: str, *, total: int | None, done: int = 0, unit: str
        ) -> AbstractContextManager[Advance]:
            self.told.append(title)
            return nullcontext(self.advance)

        def advance(self, units: int, note: str = "") -> None:
            del units, note

        def notice(self, text: str) -> None:
            self.told.append(text)

    harness.evaluate(engine="fake", output=tmp_path / "silent", **data)
    assert capfd.readouterr() == ("", "")
    kept = Kept()
    harness.evaluate(engine="fake", output=tmp_path / "kept", progress=kept, **data)
    assert "infer" in kept.told
    assert capfd.readouterr() == ("", "")
    harness.evaluate(engine="fake", output=tmp_path / "shown", progress=True, **data)
    out, err = capfd.readouterr()
    assert out == ""
    assert "run folder" in err


def test_score_and_compare(data: dict[str, Path], tmp_path: Path) -> None:
    first = harness.evaluate(engine="fake", output=tmp_path / "first", **data)
    second = harness.evaluate(engine="fake", output=tmp_path / "second", **data)
    assert harness.score(first.folder).metrics["segm/AP"] == first.metrics["segm/AP"]
    page = tmp_path / "page.html"
    found = harness.compare(first.folder, second.folder, resamples=10, html=page)
    assert found.differing_images == 0
    assert page.is_file()


def test_errors_are_errors_of_harness(data: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(harness.UsageError, match="did you mean model"):
        harness.evaluate(modle="tiny")  # type: ignore[call-arg]
    with pytest.raises(harness.UsageError, match=r"^batch_size must be"):
        harness.evaluate(batch_size=0)
    with pytest.raises(harness.UsageError, match="takes no 'dry_run'"):
        harness.train(dry_run=True)  # type: ignore[call-arg]
    with pytest.raises(harness.HarnessError, match="nothing to score"):
        harness.score()
    (tmp_path / "torn.json").write_text("{", encoding="utf-8")
    with pytest.raises(harness.IntegrityError):
        harness.load_dataset(annotations=tmp_path / "torn.json", images=data["images"])


def test_a_data_set_is_loaded_with_its_annotations(data: dict[str, Path]) -> None:
    found = harness.load_dataset(**data, limit=2)
    assert len(found.images) == 2
    assert len(found.ground_truth["annotations"]) == found.annotation_count


def test_models_are_listed(tmp_path: Path) -> None:
    models = {one.name: one for one in harness.list_models(root=tmp_path)}
    assert models["tiny"].on_disk == "embedded"
    assert models["R_50_FPN_3x"].box_ap == 41.0
    assert models["R_50_FPN_3x"].on_disk == "no"


def test_a_plan_is_there_before_an_iteration_is_measured(tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    plans = []

    def seen(planned: object) -> None:
        plans.append(planned)
        raise Enough

    with pytest.raises(Enough):
        harness.plan_training(model="R_50_FPN_3x", root=tmp_path, device="cpu", on_plan=seen)
    assert "270,000 iterations" in plans[0].plan[0]
    assert len(plans[0].missing) == 3
    assert plans[0].fetch.startswith("harness download --only")


def test_threads_beyond_what_a_machine_can_start_are_refused() -> None:
    # Thousands of them end the process in torch, or it never ends.
    with pytest.raises(harness.UsageError, match="from 1 to 512, got 100000"):
        harness.load_model(threads=100_000)
    with pytest.raises(harness.UsageError, match="from 1 to 512, got 513"):
        harness.plan_training(model="R_50_FPN_3x", threads=513)


def test_images_are_predicted_into_a_folder(
    small_coco: Path, embedded_root: Path, tmp_path: Path
) -> None:
    images = sorted((small_coco / "images").iterdir())[:2]
    settings = {"root": embedded_root, "threads": 1, "short_edge_px": 64, "device": "cpu"}
    report = harness.predict(images, output=tmp_path / "run", **settings)
    assert report.images == 2
    assert report.unreadable == ()
    assert report.command[:2] == ("harness", "predict")
    assert repr(report).startswith("<PredictReport of tiny: ")
    assert repr(report).endswith(f" objects in 2 images ({tmp_path / 'run'})>")
    found = json.loads((tmp_path / "run" / report.predictions).read_text("utf-8"))
    assert len(found["annotations"]) == report.detections > 0
    one = harness.predict(images[0], output=tmp_path / "one", pictures="none", **settings)
    assert (one.images, one.page) == (1, None)
    with pytest.raises(harness.UsageError, match=r"--pictures|pictures"):
        harness.predict(images[0], pictures="bmp")  # type: ignore[arg-type]


def test_data_and_runs_are_shown(data: dict[str, Path], tmp_path: Path) -> None:
    given = {name: data[name] for name in ("annotations", "images")}
    report = harness.show(output=tmp_path / "data", **given)
    assert (report.images, report.true_positives) == (6, None)
    assert Path(report.page).is_file()
    run_folder = harness.evaluate(engine="fake", output=tmp_path / "run", **data).folder
    judged = harness.show(run_folder, most=1)
    assert judged.drawn == 1
    assert judged.false_negatives == 0


def test_what_cannot_be_exported_or_compared_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(harness.UsageError, match=r"missing\.json"):
        harness.export_model(annotations=tmp_path / "missing.json", output=tmp_path / "tiny.pt2")
    with pytest.raises(harness.UsageError, match="nowhere"):
        harness.check_parity(images=tmp_path / "nowhere", model="tiny", against="float64")
    with pytest.raises(harness.UsageError, match="images"):
        harness.check_parity()  # type: ignore[call-arg]


def test_results_are_one_line_in_a_notebook(data: dict[str, Path], tmp_path: Path) -> None:
    runs = [
        harness.evaluate(engine="fake", output=tmp_path / name, report=False, **data)
        for name in ("one", "other")
    ]
    folders = [one.folder for one in runs]
    given = {name: data[name] for name in ("annotations", "images")}
    shown = {
        "<RunResult ": runs[0],
        "<RunRecord eval ": runs[0].record,
        "<Dataset annotations: 6 images, ": harness.load_dataset(**given),
        "<Comparison of ": harness.compare(*folders),
        "<Analysis of ": harness.analyze(folders[0]),
    }
    for begins, result in shown.items():
        assert repr(result).startswith(begins), repr(result)
        assert len(repr(result)) < 500
    assert "box AP +0.000" in repr(shown["<Comparison of "])
    assert "0 images differ" in repr(shown["<Comparison of "])


def test_what_is_no_progress_and_what_are_no_detections_is_said(data: dict[str, Path]) -> None:
    with pytest.raises(harness.UsageError, match="progress must be True, False, or an object"):
        harness.evaluate(engine="fake", progress="yes", **data)  # type: ignore[arg-type]
    with pytest.raises(harness.UsageError, match="expected Detections to draw, got list"):
        harness.draw(None, [])  # type: ignore[arg-type]
