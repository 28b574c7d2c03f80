"""Finished runs in the trackers' own stores, on this machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from harness.cli.main import run as main
from harness.core.errors import PrerequisiteError, UsageError
from harness.tracking.adapters import allowed
from harness.workflows.tracking import require_trackers, track_run
from tests.workflows.conftest import Evaluate

#: Packages of others warn as they like.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def run(evaluated: Evaluate, tmp_path: Path) -> Path:
    _, folder = evaluated(tmp_path / "run")
    return folder


def metrics_of(run: Path) -> dict[str, float]:
    found = json.loads((run / "record.json").read_text("utf-8"))["metrics"]
    return {key: value for key, value in found.items() if value is not None}


def test_mlflow_has_settings_numbers_and_files(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs the extra mlflow")
    store = (tmp_path / "store").as_uri()
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.chdir(run.parent)
    where = track_run(Path(run.name), "mlflow")
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("harness")
    [found] = client.search_runs([experiment.experiment_id])
    assert found.info.run_id in where
    assert found.info.status == "FINISHED"
    assert found.data.metrics == pytest.approx(metrics_of(run))
    assert found.data.params["engine"] == "fake"
    assert found.data.tags["verdict"] == "nothing-to-compare"
    assert found.data.tags["harness.folder"] == str(run)
    names = {one.path for one in client.list_artifacts(found.info.run_id)}
    assert names == {"record.json", "report.html", "per_category.csv"}


def test_wandb_stays_offline(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="needs the extra wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    where = Path(track_run(run, "wandb"))
    assert where.is_relative_to(run / "wandb")
    assert where.parent.name.startswith("offline-run-")
    assert list(where.parent.glob("*.wandb"))
    assert {path.name for path in where.iterdir()} >= {"record.json", "report.html"}


def test_tensorboard_has_the_numbers(run: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra tensorboard")
    folder = Path(track_run(run, "tensorboard"))
    assert scalars_in(folder) == pytest.approx(metrics_of(run), rel=1e-6)


def scalars_in(folder: Path) -> dict[str, float]:
    """By tag, of the one event file in a folder."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    [path] = folder.iterdir()
    return {
        value.tag: value.simple_value
        for raw in RawEventFileLoader(str(path)).Load()
        for value in Event.FromString(raw).summary.value
    }


def test_a_speed_run_and_a_night_are_tracked_by_their_commands(
    embedded_root: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra tensorboard")
    tracked = ["--root", str(embedded_root), "--track", "tensorboard"]
    quick = ["--limit", "1", "--repeats", "1", "--min-duration", "0", "--threads", "1"]
    run = tmp_path / "bench"
    assert main(["bench", "--model", "tiny", *quick, *tracked, "--output", str(run)]) == 0
    assert scalars_in(run / "tensorboard") == pytest.approx(metrics_of(run), rel=1e-6)
    matrix = tmp_path / "matrix.toml"
    matrix.write_text(
        '[[block]]\nmodels = ["tiny"]\nengines = ["fake"]\nlimit = 3\nbench = false\n',
        encoding="utf-8",
    )
    nights = ["--matrix", str(matrix), "--results", str(tmp_path)]
    assert main(["nightly", *nights, *tracked]) == 0
    [folder] = (tmp_path / "nights").glob("*/tensorboard")
    assert "tiny-fake-fp32-auto-first3/bbox/AP" in scalars_in(folder)


def test_a_night_is_tracked_by_its_command(
    embedded_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs the extra mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    matrix = tmp_path / "matrix.toml"
    matrix.write_text(
        '[[block]]\nmodels = ["tiny"]\nengines = ["fake"]\nlimit = 3\nbench = false\n',
        encoding="utf-8",
    )
    words = ["--matrix", str(matrix), "--results", str(tmp_path), "--root", str(embedded_root)]
    assert main(["nightly", *words, "--track", "mlflow"]) == 0
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("harness")
    [found] = client.search_runs([experiment.experiment_id])
    assert found.data.tags["harness.kind"] == "nightly"
    assert found.data.tags["status"] == "pass"
    assert "tiny-fake-fp32-auto-first3/bbox/AP" in found.data.metrics
    assert {one.path for one in client.list_artifacts(found.info.run_id)} == {
        "night.json",
        "index.html",
    }


@pytest.mark.slow
def test_a_training_is_tracked_with_its_curve(
    small_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs the extra mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    data = []
    for part in ("train", "val"):
        data += [f"--{part}-annotations", str(small_coco / "annotations.json")]
        data += [f"--{part}-images", str(small_coco / "images")]
    small = ["--iterations", "2", "--batch-size", "2", "--eval-every", "1", "--short-edge", "64"]
    place = ["--device", "cpu", "--threads", "1", "--output", str(tmp_path / "run")]
    assert main(["train", *data, "--init", "zoo", *small, *place, "--track", "mlflow"]) == 0
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("harness")
    [found] = client.search_runs([experiment.experiment_id])
    curve = client.get_metric_history(found.info.run_id, "training/bbox/AP")
    assert [one.step for one in curve] == [0, 1, 2]
    assert found.data.tags["harness.kind"] == "train"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("bbox/AP50", "bbox/AP50"), ("own+@é-native/AP", "own___-native/AP")],
)
def test_mlflow_gets_names_that_it_takes(name: str, expected: str) -> None:
    assert allowed(name) == expected


def test_a_missing_package_is_named_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(PrerequisiteError, match="needs the package wandb"):
        require_trackers(("wandb",))


def test_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no finished run"):
        track_run(tmp_path, "mlflow")
