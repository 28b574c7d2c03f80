"""Parts of one evaluation, each inferred on its own: the bytes of the whole, however divided."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness
from harness.cli.eval import scoring
from harness.cli.main import run
from harness.core.engine import EngineInfo
from harness.core.errors import (
    AnotherRunError,
    IntegrityError,
    PrerequisiteError,
    RunFailedError,
    UsageError,
)
from harness.core.record import RunRecord
from harness.core.requests.inference import InferenceRequest
from harness.core.run_files import PREDICTIONS
from harness.core.settings import flatten, replaced
from harness.engines.fake import FakeEngine
from harness.files.digest import file_digest
from harness.files.json import dumps, read, to_plain
from harness.workflows.evaluation import evaluate, share, workers
from harness.workflows.evaluation.finished import finished_facts
from harness.workflows.evaluation.inference import asked_identity, engine_identity
from harness.workflows.evaluation.resolve import Job, open_job_engine, resolve
from harness.workflows.evaluation.share import _images_of, parsed_share
from harness.workflows.evaluation.workers import ShardFacts, facts_path
from harness.workflows.runs.files import read_run
from harness.workflows.runs.shards import open_shard, read_lines, shard_path

Evaluate = Callable[..., tuple[RunRecord, Path]]
Part = Callable[..., Any]


def no_engine(job: Job) -> Any:
    raise AssertionError("an engine was opened")


@pytest.fixture
def part(asked: InferenceRequest, tmp_path: Path) -> Part:
    """Infer a part into the folder ``run``."""

    def infer(share: str, **given: Any) -> Any:
        arguments = {**flatten(asked), "output": tmp_path / "run", **given}
        return harness.evaluate_share(share, **arguments)

    return infer


def test_parts_in_any_order_give_the_bytes_of_the_whole(
    evaluated: Evaluate, part: Part, tmp_path: Path
) -> None:
    _, whole = evaluated(tmp_path / "whole")
    found = [part(f"{number}/4") for number in (3, 1, 4, 2)]
    assert [one.images for one in found] == [1, 2, 1, 2]
    assert [one.left for one in found] == [5, 3, 2, 0]
    folder = found[0].folder
    record, _ = evaluated(folder, resume=True, open_engine=no_engine)
    assert (folder / PREDICTIONS).read_bytes() == (whole / PREDICTIONS).read_bytes()
    assert record.metrics["segm/AP"] == pytest.approx(100)
    assert record.engine.name == "fake"
    # Nobody knows which parts were inferred beside each other.
    assert record.metrics["throughput/all_devices_fps"] is None


def test_a_part_is_inferred_once_and_whatever_is_missing_at_the_end(
    evaluated: Evaluate, part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part("2/3")
    with monkeypatch.context() as watched:
        watched.setattr(share, "open_job_engine", no_engine)
        again = part("2/3")
    assert (again.images, again.images_before) == (0, 2)
    with pytest.raises(AnotherRunError):  # finished, of another threshold
        part("2/3", score_threshold=0.5)
    other = part("1/1")  # all of it: what the second of three has is not inferred again
    assert (other.images, other.images_before) == (4, 2)
    assert len(read_lines([shard_path(tmp_path / "run", 0)])) == 4
    evaluated(tmp_path / "run", resume=True, open_engine=no_engine)
    with pytest.raises(UsageError, match="is finished"):
        part("2/3")


def test_what_no_part_has_is_inferred_before_scoring(
    evaluated: Evaluate, part: Part, tmp_path: Path
) -> None:
    part("1/2")
    record, folder = evaluated(tmp_path / "run", resume=True)
    assert record.metrics["bbox/AP"] == pytest.approx(100)
    assert sum(len(read_lines([shard_path(folder, number)])) for number in (0, 1)) == 6


def test_a_part_of_another_run_is_refused(part: Part) -> None:
    part("1/2")
    with pytest.raises(AnotherRunError, match="images"):
        part("2/2", limit=5)


def test_another_run_is_not_scored_as_this_one(
    evaluated: Evaluate, part: Part, tmp_path: Path, asked: InferenceRequest
) -> None:
    part("1/1")
    for changed in ({"limit": 5}, {"score_threshold": 0.5}, {"batch_size": 2}):
        with pytest.raises((AnotherRunError, IntegrityError)):
            evaluated(tmp_path / "run", inference=replaced(asked, **changed), resume=True)


def test_facts_of_another_engine_are_not_believed(part: Part, job: Job, tmp_path: Path) -> None:
    part("1/1")
    assert finished_facts(job, tmp_path / "run") is not None
    path = facts_path(tmp_path / "run", 0)
    content = read(path)
    content["engine"]["device_class"] = "another card"
    path.write_text(dumps(content))
    assert finished_facts(job, tmp_path / "run") is None
    path.write_text("{")
    assert finished_facts(job, tmp_path / "run") is None


def test_scoring_waits_for_a_part_that_is_at_work(
    evaluated: Evaluate, part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The part releases its shard only after its last image; until then nothing is counted."""
    infer, entered = workers.infer_missing, []

    def slowly(*given: Any, **named: Any) -> None:
        entered.append(True)
        time.sleep(0.3)
        infer(*given, **named)

    monkeypatch.setattr(workers, "infer_missing", slowly)
    other = Thread(target=part, args=("1/1",))
    other.start()
    while not entered:
        time.sleep(0.005)
    record, _ = evaluated(tmp_path / "run", resume=True, open_engine=no_engine)
    other.join()
    assert record.metrics["bbox/AP"] == pytest.approx(100)


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "1/0", "-1/2", "1/2/3", "a/b", "1/10000"])
def test_a_share_is_one_of_how_many(text: str) -> None:
    with pytest.raises(UsageError, match="K from 1 to N"):
        parsed_share(text)


def test_a_share_needs_the_folder_of_all(part: Part) -> None:
    with pytest.raises(UsageError, match="needs the folder of all parts"):
        part("1/2", output=None)


@given(images=st.integers(1, 40), count=st.integers(1, 12), batch=st.integers(1, 5))
def test_every_image_is_in_one_part_and_batches_are_whole(
    images: int, count: int, batch: int
) -> None:
    records = [
        SimpleNamespace(image_id=number, width_px=1, height_px=1) for number in range(images)
    ]
    request = replaced(InferenceRequest(), batch_size=batch)
    job = cast(Job, SimpleNamespace(request=request, dataset=SimpleNamespace(images=records)))
    parts = [_images_of(job, number, count) for number in range(1, count + 1)]
    assert sorted(one for part in parts for one in part) == list(range(images))
    for start in range(0, images, batch):
        whole = set(range(start, min(start + batch, images)))
        assert sum(bool(whole & part) for part in parts) == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--share", "1/2", "--output", "r"], "harness eval --resume --output r"),
        (["--output", "r", "--share=1/2"], "harness eval --output r --resume"),
    ],
)
def test_the_command_that_scores(words: list[str], expected: str) -> None:
    assert scoring(("harness", "eval", *words)) == expected


@pytest.mark.parametrize(
    "words", [["--workers", "2"], ["--resume"], ["--track", "tensorboard"]], ids="/".join
)
def test_what_a_part_has_not(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = ["eval", "--share", "1/2", "--output", "r", *words]
    monkeypatch.setattr(sys, "argv", ["harness", *typed])
    assert run(typed) == 2
    assert f"--share and {words[0]} exclude each other" in capsys.readouterr().err


def test_a_part_computes_with_the_threads_of_any_division(part: Part, job: Job) -> None:
    folder = part("1/1").folder
    facts = finished_facts(replace(job, request=replaced(job.request, threads=1)), folder)
    assert facts is not None


def test_scoring_waits_for_a_part_that_opens_its_engine(
    evaluated: Evaluate, part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no shard yet, or one of before; begun later, its lines would follow the checksums."""
    opening, opened = Event(), []

    def slowly(job: Job) -> Any:
        opening.set()
        time.sleep(0.3)
        opened.append(True)
        return open_job_engine(job)

    monkeypatch.setattr(share, "open_job_engine", slowly)
    other = Thread(target=part, args=("1/1",))
    other.start()
    assert opening.wait(10)
    record, folder = evaluated(tmp_path / "run", resume=True, open_engine=no_engine)
    other.join()
    assert opened
    assert record.sha256["shards/0000.jsonl"] == file_digest(shard_path(folder, 0))
    assert not list((folder / "shards").glob(".part-*"))


def test_what_a_killed_part_left_is_not_waited_for(
    evaluated: Evaluate, part: Part, tmp_path: Path
) -> None:
    part("1/1")
    left = tmp_path / "run/shards/.part-0123.lock"
    left.write_text("process 1 on elsewhere", encoding="utf-8")
    evaluated(tmp_path / "run", resume=True, open_engine=no_engine)
    assert not left.exists()


def test_a_whole_run_is_scored_where_its_device_is_not(
    evaluated: Evaluate, part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(job: Job) -> None:
        raise PrerequisiteError("device cuda is not there")

    part("1/2")
    with monkeypatch.context() as without:
        without.setattr(evaluate, "require_job_settings", missing)
        with pytest.raises(PrerequisiteError, match="is not there"):
            evaluated(tmp_path / "run", resume=True)
        with pytest.raises(PrerequisiteError, match="is not there"):
            evaluated(tmp_path / "new")
        assert not (tmp_path / "new").exists()
    part("2/2")
    monkeypatch.setattr(evaluate, "require_job_settings", missing)
    record, _ = evaluated(tmp_path / "run", resume=True, open_engine=no_engine)
    assert record.metrics["bbox/AP"] == pytest.approx(100)


@pytest.mark.parametrize(
    ("changed", "whole"),
    [
        ({}, True),
        ({"device": "cuda"}, True),
        ({"device": "cuda:3"}, True),
        ({"device": "cpu"}, False),
        ({"memory_format": "contiguous"}, True),
        ({"memory_format": "channels_last"}, False),
        ({"precision": "bf16"}, False),
        ({"compile": True}, False),
        ({"exact": True}, False),
        ({"score_threshold": 0.5}, False),
        ({"batch_size": 2}, False),
    ],
    ids=str,
)
def test_only_what_was_asked_for_is_scored_without_an_engine(
    native_run: tuple[Job, Path], changed: dict[str, Any], whole: bool
) -> None:
    """Of a run that a GPU inferred, whatever is on this machine."""
    job, folder = native_run
    asked = resolve(replaced(job.request, **changed))
    assert (finished_facts(asked, folder) is not None) is whole


@pytest.fixture
def native_run(asked: InferenceRequest, tmp_path: Path) -> tuple[Job, Path]:
    """A job of the native engine, and a folder as a GPU leaves it that inferred all images."""
    job = resolve(replaced(asked, engine="native"))
    engine = EngineInfo(
        name="native",
        version="1",
        device="cuda:0",
        device_class="card",
        precision="fp32",
        threads=8,
        architecture=job.architecture,
        memory_format="contiguous",
    )
    identity = {**asked_identity(job), **engine_identity(engine)}
    with open_shard(shard_path(tmp_path / "gpu", 2), identity):
        facts = ShardFacts(engine=engine, begun_s=1, ended_s=2, images_before=0, images=6)
        facts_path(tmp_path / "gpu", 2).write_text(dumps(to_plain(facts)), encoding="utf-8")
    return job, tmp_path / "gpu"


def test_notes_outlive_a_part_that_is_given_again(
    evaluated: Evaluate, part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the part failed, and where its shard is not among the first."""
    with monkeypatch.context() as noting:
        noting.setattr(FakeEngine, "notes", ("first",), raising=False)
        noting.setattr(FakeEngine, "infer", failing_at_the_second(FakeEngine.infer))
        with pytest.raises(RunFailedError, match="no more"):
            part("3/3", image_ids=[7, 9, 12])
        noting.setattr(FakeEngine, "notes", ("second",))
    part("3/3")
    part("1/1")
    record, _ = evaluated(tmp_path / "run", resume=True, open_engine=no_engine)
    assert record.notes == ("first",)


def failing_at_the_second(infer: Callable[..., Any]) -> Callable[..., Any]:
    calls: list[bool] = []

    def inferred(*given: Any) -> Any:
        calls.append(True)
        if len(calls) == 2:
            raise RuntimeError("no more")
        return infer(*given)

    return inferred


def test_images_of_a_part_are_images_of_the_run(part: Part, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no image of the run has the id 5"):
        part("1/2", image_ids=[42, 5])


def test_a_part_of_another_model_is_refused_before_anything_is_read(part: Part) -> None:
    part("1/2")
    with pytest.raises(AnotherRunError, match="it is of the model tiny"):
        part("2/2", model="mask_rcnn_R_50_FPN_3x")


def test_a_share_is_not_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file is of all parts; with a share in it, what they inferred could not be scored."""
    path = tmp_path / "settings.toml"
    path.write_text('share = "1/2"\noutput = "r"\n', encoding="utf-8")
    assert run(["eval", "--config", str(path)]) == 2
    assert "share is set in the configuration file" in capsys.readouterr().err


def test_a_run_begun_with_a_wrong_setting_is_begun_again_while_it_has_no_image(
    evaluated: Evaluate,
    part: Part,
    asked: InferenceRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What reads ``run.json`` later, such as ``harness score``, must not find the wrong setting."""
    begun: list[float | None] = []

    def failing(job: Job) -> Any:
        threshold = job.request.recipe.score_threshold
        if threshold is not None and not begun:
            begun.append(threshold)
            with pytest.raises(AnotherRunError, match="parts of another run are at work"):
                part("2/2")
            with pytest.raises(RunFailedError, match="no engine"):  # not as another run
                part("2/2", score_threshold=threshold, device="cpu")
        raise RunFailedError("no engine")

    with monkeypatch.context() as broken:
        broken.setattr(share, "open_job_engine", failing)
        for words in ({"score_threshold": 0.5}, {}, {"score_threshold": 0.7}):
            with pytest.raises(RunFailedError, match="no engine"):
                part("1/2", **words)
            kept = read_run(tmp_path / "run").request["inference"]
            assert kept["score_threshold"] == words.get("score_threshold")
    evaluated(tmp_path / "run", resume=True)
    assert read_run(tmp_path / "run").request["inference"]["score_threshold"] is None
