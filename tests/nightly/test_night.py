"""A night keeps going, compares, remembers, and tells a regression from a failure."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from harness import api
from harness.cli.main import run
from harness.core.clock import utc_now
from harness.core.errors import UsageError
from harness.core.nightly import Block, Matrix
from harness.core.progress import Silent
from harness.core.requests.cluster import NightRequest
from harness.files.atomic import temporary_path
from harness.nightly.matrix import cells_of, read_matrix
from harness.nightly.night import read_night, run_night
from harness.report.night import reason_of
from harness.workflows.runs.folder import read_record

QUICK = """
[[block]]
models = ["tiny"]
engines = ["fake"]
limit = 3
bench = false
"""
MEASURED = QUICK.replace("fake", "native")
MISSING = """
[[block]]
models = ["R_50_FPN_3x"]
bench = false
"""


@pytest.fixture
def results(tmp_path: Path, embedded_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "datasets").symlink_to(embedded_root)
    return tmp_path / "results"


def nightly(results: Path, matrix: str, *more: str) -> int:
    path = results.parent / "matrix.toml"
    path.write_text(matrix, encoding="utf-8")
    root = str(results.parent / "datasets")
    words = ["--matrix", str(path), "--results", str(results), "--root", root]
    return run(["nightly", *words, *more])


def nights(results: Path) -> list[Path]:
    return sorted((results / "nights").iterdir())


def test_a_matrix_is_every_combination_once() -> None:
    block = Block(models=("a", "b"), engines=("native", "fake"), precisions=("fp32", "bf16"))
    cells = cells_of(Matrix(block=(block, Block(models=("a",)))))
    assert len(cells) == 8
    assert len({cell.name for cell in cells}) == 8


def test_an_unknown_key_of_a_matrix_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text('[[block]]\nmodel = ["tiny"]\n', encoding="utf-8")
    with pytest.raises(UsageError, match="model"):
        read_matrix(tmp_path / "m.toml")


def test_a_misspelt_model_of_a_matrix_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text('[[block]]\nmodels = ["tinny"]\n', encoding="utf-8")
    with pytest.raises(UsageError, match="did you mean tiny"):
        read_matrix(tmp_path / "m.toml")


@pytest.mark.parametrize(
    "text", ["", "block = []\n", "[[block]]\nmodels = []\n", "[[block]]\nengines = []\n"]
)
def test_a_matrix_that_measures_nothing_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="has nothing to measure"):
        read_matrix(tmp_path / "m.toml")
    (tmp_path / "m.toml").write_text("\ufeff[[block]]\n", encoding="utf-8")
    assert len(cells_of(read_matrix(tmp_path / "m.toml"))) == 1


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("batch_size = 0", "--batch-size must be at least 1"),
        ("limit = -1", "--limit must be at least 1"),
        ("limit = 99999999999999999999", "more than 63 bits"),
        ('devices = ["cpu", "gpu"]', "unknown device 'gpu'; choose auto, cpu, cuda or cuda:N"),
        ('dataset = "coco_2017_vall"', "did you mean coco_2017_val?"),
    ],
)
def test_a_cell_that_cannot_be_measured_anywhere_is_refused_before_the_night(
    line: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "m.toml").write_text(f"[[block]]\n{line}\n", encoding="utf-8")
    with pytest.raises(UsageError, match=re.escape(says)) as caught:
        read_matrix(tmp_path / "m.toml")
    assert str(tmp_path / "m.toml") in caught.value.message


@pytest.mark.parametrize("name", ["batch_size", "limit"])
@pytest.mark.parametrize("value", ["true", "false", '"8"'])
def test_a_number_of_a_cell_is_a_number(name: str, value: str, tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(f"[[block]]\n{name} = {value}\n", encoding="utf-8")
    says = re.escape(
        f"block.0.{name}: Input should be a number, got {value.replace(chr(34), chr(39))}"
    )
    with pytest.raises(UsageError, match=says):
        read_matrix(tmp_path / "m.toml")


@pytest.mark.parametrize("value", ["1", "0", '"yes"', "0.0"])
def test_whether_a_cell_is_timed_is_true_or_false(value: str, tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(f"[[block]]\nbench = {value}\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"block\.0\.bench: Input should be true or false, got "):
        read_matrix(tmp_path / "m.toml")


def test_an_engine_that_does_not_know_a_model_is_refused(tmp_path: Path) -> None:
    model = "torchvision_fasterrcnn_resnet50_fpn"
    (tmp_path / "m.toml").write_text(f'[[block]]\nmodels = ["{model}"]\n', encoding="utf-8")
    with pytest.raises(UsageError, match="the native engine does not know this network"):
        read_matrix(tmp_path / "m.toml")


def test_a_place_for_results_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write"):
        run_night(NightRequest(results=tmp_path / "file"), progress=Silent(), now=utc_now())


def test_the_matrix_of_the_repository_is_valid(repository: Path) -> None:
    cells = cells_of(read_matrix(repository / "slurm" / "nightly.toml"))
    assert [cell.model for cell in cells] == ["R_50_FPN_1x", "R_50_FPN_3x", "R_101_FPN_3x"]


TWO = QUICK + QUICK.replace("limit = 3", "limit = 2")
TWO_CELLS = Matrix(
    block=tuple(
        Block(models=("tiny",), engines=("fake",), limit=one, bench=False) for one in (3, 2)
    )
)


def interrupted(results: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a night of TWO that is interrupted in its second cell."""
    evaluated: list[object] = []

    def evaluate(**settings: object) -> object:
        evaluated.append(settings)
        if len(evaluated) == 2:
            raise KeyboardInterrupt
        return api.evaluate(**settings)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr("harness.nightly.night.api", SimpleNamespace(evaluate=evaluate))
        assert nightly(results, TWO) == 130
    return nights(results)[-1]


def test_an_interrupted_night_is_continued_and_measures_no_cell_again(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = interrupted(results, monkeypatch)
    assert "the same command and --resume" in capsys.readouterr().err
    (record,) = folder.glob("*/eval/record.json")
    before = record.stat().st_mtime_ns, record.read_bytes()
    assert nightly(results, TWO, "--resume") == 0
    assert nights(results) == [folder]
    assert (record.stat().st_mtime_ns, record.read_bytes()) == before
    assert len(list(folder.glob("*/eval/record.json"))) == 2
    assert (folder / "index.html").is_file()
    assert nightly(results, TWO, "--resume") == 2
    assert f"{folder}, is finished" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["record.json", "run.json"])
def test_only_what_is_damaged_of_a_cell_is_measured_again(
    name: str,
    results: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (done,) = interrupted(results, monkeypatch).glob("*/eval/record.json")
    before = read_record(done.parent).metrics["segm/AP"]
    if name == "record.json":
        done.write_bytes(done.read_bytes().replace(b"100.0", b"900.0", 1))
    else:
        done.unlink()
        (done.parent / name).unlink()
    capsys.readouterr()
    assert nightly(results, TWO, "--resume") == 0
    said = capsys.readouterr().err
    assert f"damaged: {done.parent / name} is " in said
    assert "every image was inferred before" in said
    assert read_record(done.parent).metrics["segm/AP"] == before


def test_the_next_night_removes_what_a_killed_one_left(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = interrupted(results, monkeypatch)
    monkeypatch.setattr("os.getpid", lambda: 2**22 + 1)  # beyond the ids of processes
    left = [temporary_path(one) for one in (folder / "night.json", folder / "cell/eval/a.json")]
    monkeypatch.undo()
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert nightly(results, QUICK) == 0
    assert not [path for path in left if path.exists()]


def test_a_cell_in_the_place_of_another_gives_no_number(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = interrupted(results, monkeypatch)
    (done,) = folder.glob("*/eval/record.json")
    other = next(folder / cell.name for cell in cells_of(TWO_CELLS) if cell.limit == 2)
    shutil.rmtree(other, ignore_errors=True)
    shutil.copytree(done.parents[1], other)
    assert nightly(results, TWO, "--resume") == 5
    said = capsys.readouterr().err
    assert f"{other / 'eval'} belongs to another cell:\n  limit: 3 there, 2 now" in said


@pytest.mark.parametrize("what", ["annotations.json", "images"])
def test_a_night_is_not_continued_with_other_data(
    what: str,
    results: Path,
    embedded_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (results.parent / "datasets").unlink()
    shutil.copytree(embedded_root, results.parent / "datasets")
    folder = interrupted(results, monkeypatch)
    (place,) = (results.parent / "datasets").glob(f"synthetic/*/*/{what}")
    file = min(place.iterdir()) if place.is_dir() else place
    file.write_bytes(file.read_bytes() + b" ")
    capsys.readouterr()
    assert nightly(results, TWO, "--resume") == 4
    said = capsys.readouterr().err
    assert ("other annotations than" if file == place else "1 of 3 finished images") in said
    assert "begin a new night without --resume" in said
    assert not (folder / "index.html").exists()


def test_resume_without_an_interrupted_night_is_an_error(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert nightly(results, QUICK, "--resume") == 2
    assert "there is no night" in capsys.readouterr().err
    assert not list((results / "nights").iterdir())


@pytest.mark.parametrize("content", [None, "{}", "\udcff"])
def test_a_night_of_another_matrix_is_not_continued(
    content: str | None,
    results: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = interrupted(results, monkeypatch)
    assert nightly(results, QUICK, "--resume") == 2
    assert "another matrix" in capsys.readouterr().err
    if content is None:
        (folder / "matrix.json").unlink()
    else:
        (folder / "matrix.json").write_text(content, "utf-8", "surrogateescape")
    assert nightly(results, TWO, "--resume") == 2
    assert nightly(results, TWO) == 0
    assert len(nights(results)) == 2


def test_a_failed_cell_does_not_end_the_night(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert nightly(results, MISSING + QUICK, "--json") == 5
    night = json.loads(capsys.readouterr().out)
    assert [cell["status"] for cell in night["cells"]] == ["failed", "no-reference"]
    assert "harness download" in night["cells"][0]["error"]
    (folder,) = nights(results)
    junit = ElementTree.parse(folder / "junit.xml").getroot()
    assert (junit.get("errors"), junit.get("failures")) == ("1", "0")
    assert "harness download" in (folder / "index.html").read_text("utf-8")
    assert "FAILED" in (folder / "summary.md").read_text("utf-8")


def test_several_missing_downloads_are_named_in_the_table() -> None:
    error = (
        "2 downloads are missing:\n  data set coco_2017_val: no a.json\n  R_50: no b.pkl\n  run: c"
    )
    for text, why in (
        (error, "2 downloads are missing: data set coco_2017_val: no a.json"),
        ("one line\n  and a hint", "one line"),
        ("Traceback (most recent call last):\n  File\nValueError: x", "ValueError: x"),
        ("", ""),
    ):
        failed: Any = SimpleNamespace(checks=(), error=text)
        assert reason_of(failed) == why


def test_a_night_is_repeated_from_its_own_file(results: Path) -> None:
    assert nightly(results, QUICK) == 0
    (results.parent / "matrix.toml").write_text(MISSING, encoding="utf-8")  # of another night
    (first,) = nights(results)
    assert run(["nightly", "--config", str(first / "config.toml")]) == 0
    second = nights(results)[-1]
    cells = [read_night(folder).cells for folder in (first, second)]
    assert [one.cell for one in cells[0]] == [one.cell for one in cells[1]]


def test_accepted_numbers_are_proposed_then_held(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert nightly(results, MEASURED, "--accept") == 0
    assert '+   "metric": "bbox/AP"' in capsys.readouterr().out
    reference = results / "reference.json"
    assert nightly(results, MEASURED) == 0
    assert (
        json.loads((nights(results)[-1] / "night.json").read_text("utf-8"))["cells"][0]["status"]
        == "pass"
    )
    content = json.loads(reference.read_text("utf-8"))
    for baseline in content["baselines"]:
        baseline["value"] -= 0.2  # as if tonight were too good by two tenths
    reference.write_text(json.dumps(content), encoding="utf-8")
    assert nightly(results, MEASURED + MISSING) == 1  # a regression outweighs a failure
    folder = nights(results)[-1]
    junit = ElementTree.parse(folder / "junit.xml").getroot()
    assert (junit.get("errors"), junit.get("failures")) == ("1", "2")
    assert "REGRESSION" in (folder / "summary.md").read_text("utf-8")
    page = (folder / "index.html").read_text("utf-8")
    assert "regression" in page
    assert page.count("<polyline") == 2
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<script" not in page


def test_numbers_of_no_network_and_of_failed_nights_are_not_accepted(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert nightly(results, QUICK, "--accept") == 2
    assert "the fake engine" in capsys.readouterr().err
    assert not (results / "nights").exists()
    assert nightly(results, MEASURED + MISSING, "--accept") == 5
    assert "nothing is accepted: 1 of 2 cells failed" in capsys.readouterr().err
    assert not (results / "reference.json").exists()


def test_history_shows_a_row_a_cell_and_metric(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["history", "--results", str(results)]) == 2
    assert "run: harness nightly" in capsys.readouterr().err
    nightly(results, QUICK)
    nightly(results, QUICK)
    capsys.readouterr()
    assert run(["history", "--results", str(results), "--json"]) == 0
    trends = json.loads(capsys.readouterr().out)
    assert [(one["metric"], len(one["values"])) for one in trends] == [
        ("bbox/AP", 2),
        ("segm/AP", 2),
    ]
    assert run(["history", "--results", str(results), "--cell", "fake"]) == 0
    assert "tiny-fake-fp32-auto" in capsys.readouterr().out
