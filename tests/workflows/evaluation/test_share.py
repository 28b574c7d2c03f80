"""Parts of one evaluation, each inferred on its own: the bytes of the whole, however divided."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness
from harness.cli.eval import scoring
from harness.cli.main import run
from harness.core.errors import AnotherRunError, IntegrityError, UsageError
from harness.core.record import RunRecord
from harness.core.requests.inference import InferenceRequest
from harness.core.settings import flatten, replaced
from harness.files.json import dumps, read
from harness.workflows.evaluation.finished import finished_facts
from harness.workflows.evaluation.resolve import Job
from harness.workflows.evaluation.share import _images_of, parsed_share
from harness.workflows.evaluation.workers import facts_path
from harness.workflows.runs.files import PREDICTIONS
from harness.workflows.runs.shards import read_lines, shard_path

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
    evaluated: Evaluate, part: Part, tmp_path: Path
) -> None:
    part("2/3")
    again = part("2/3")
    assert (again.images, again.images_before) == (0, 2)
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
    from threading import Thread

    from harness.workflows.evaluation import workers

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
def test_what_a_part_has_not(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "--share", "1/2", "--output", "r", *words]) == 2
    assert f"--share and {words[0]} exclude each other" in capsys.readouterr().err


def test_a_part_computes_with_the_threads_of_any_division(part: Part, job: Job) -> None:
    folder = part("1/1").folder
    facts = finished_facts(replace(job, request=replaced(job.request, threads=1)), folder)
    assert facts is not None
