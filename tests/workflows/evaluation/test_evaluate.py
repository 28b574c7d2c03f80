"""One accuracy run from request to record, with engines that answer, miss and fail."""

from __future__ import annotations

import csv
import errno
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.core.checks import Reference, Status, Tolerance
from harness.core.engine import Engine
from harness.core.errors import IntegrityError, RunFailedError
from harness.core.record import RunRecord
from harness.core.requests.inference import InferenceRequest
from harness.core.run_files import LOG, PER_CATEGORY, PREDICTIONS, RECORD, SHARDS
from harness.core.settings import replaced
from harness.engines.fake import open_fake
from harness.measure.coco import Scores
from harness.workflows.evaluation import evaluate
from harness.workflows.evaluation.evaluate import accuracy_checks
from harness.workflows.evaluation.resolve import Job
from harness.workflows.runs.folder import read_record
from harness.workflows.runs.shards import shard_path

Evaluate = Callable[..., tuple[RunRecord, Path]]


def behaving(behaviour: Any, **options: Any) -> Callable[[Job], Engine]:
    return lambda job: open_fake(job.dataset, job.architecture, behaviour=behaviour, **options)


@pytest.mark.parametrize("evaluator", ["fast", "pycocotools", "both"])
def test_the_ground_truth_itself_scores_100(
    tmp_path: Path, evaluated: Evaluate, evaluator: str
) -> None:
    record, _ = evaluated(tmp_path / "run", evaluator=evaluator)
    for task in ("bbox", "segm"):
        assert record.metrics[f"{task}/AP"] == pytest.approx(100, abs=1e-9)
        assert record.metrics[f"{task}/AR100"] == pytest.approx(100, abs=1e-9)
    assert sum(name.startswith(("bbox/", "segm/")) for name in record.metrics) == 24
    assert record.verdict.outcome == "nothing-to-compare"
    assert record.dataset.warnings == ("1 image has no annotation",)


def test_misses_and_moved_boxes_score_less(tmp_path: Path, evaluated: Evaluate) -> None:
    record, _ = evaluated(tmp_path / "run", open_engine=behaving("noisy", seed=3))
    assert 20 < (record.metrics["bbox/AP"] or 0) < 99


def test_what_a_run_leaves_behind(tmp_path: Path, evaluated: Evaluate) -> None:
    record, folder = evaluated(tmp_path / "run")
    assert read_record(folder) == record
    for name in (*record.artefacts.values(), RECORD):
        assert (folder / name).exists()
    assert set(record.artefacts.values()) == {PREDICTIONS, PER_CATEGORY, SHARDS, LOG}
    assert set(record.stage_times_s) == {"resolve", "open engine", "infer", "merge", "score"}
    assert all(seconds >= 0 for seconds in record.stage_times_s.values())
    with (folder / PER_CATEGORY).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["task"], int(row["category_id"])) for row in rows] == [
        (task, number) for task in ("bbox", "segm") for number in (2, 3, 5, 7, 11, 13, 17, 19)
    ]
    predictions = json.loads((folder / PREDICTIONS).read_text(encoding="utf-8"))
    assert [row["image_id"] for row in predictions] == [7, 9, 9, 12, 12, 12, 42, 42, 1001]
    assert record.verdict.line in (folder / LOG).read_text(encoding="utf-8")


def test_categories_without_objects_have_a_reason_and_no_number(
    tmp_path: Path, evaluated: Evaluate, asked: InferenceRequest
) -> None:
    record, folder = evaluated(tmp_path / "run", inference=replaced(asked, limit=1))
    scores = {row.category_id: row for row in record.per_category if row.task == "bbox"}
    assert scores[2].ap == pytest.approx(100)
    assert scores[3].ap is None
    assert "no ground truth" in scores[3].reason
    assert "NaN" not in (folder / RECORD).read_text(encoding="utf-8")


def test_nothing_to_compare_fails_where_a_reference_is_required(
    tmp_path: Path, evaluated: Evaluate
) -> None:
    record, _ = evaluated(tmp_path / "run", require_reference=True)
    assert record.verdict.outcome == "fail"


def test_a_crash_keeps_what_was_finished_and_the_run_can_go_on(
    tmp_path: Path, evaluated: Evaluate
) -> None:
    _, whole = evaluated(tmp_path / "whole")
    broken = tmp_path / "broken"
    with pytest.raises(RunFailedError, match="image 42") as caught:
        evaluated(broken, open_engine=behaving("failing", fail_at_image=42))
    assert caught.value.exit_code == 5
    assert f"--output {broken} --resume" in (caught.value.hint or "")
    assert not (broken / PREDICTIONS).exists()
    assert not (broken / RECORD).exists()
    assert "image 42" in (broken / LOG).read_text(encoding="utf-8")
    record, _ = evaluated(broken, resume=True)
    assert record.metrics["bbox/AP"] == pytest.approx(100)
    assert (broken / PREDICTIONS).read_bytes() == (whole / PREDICTIONS).read_bytes()


def test_a_number_that_is_not_finite_ends_the_run(tmp_path: Path, evaluated: Evaluate) -> None:
    with pytest.raises(RunFailedError, match="not finite") as caught:
        evaluated(tmp_path / "run", open_engine=behaving("nan"))
    assert caught.value.exit_code == 5


def test_a_resumed_run_never_mixes_engines(tmp_path: Path, evaluated: Evaluate) -> None:
    run = tmp_path / "run"
    with pytest.raises(RunFailedError):
        evaluated(run, open_engine=behaving("failing", fail_at_image=42))
    before = shard_path(run, 0).read_bytes()
    with pytest.raises(IntegrityError, match="engine_version: perfect there, noisy now") as caught:
        evaluated(run, open_engine=behaving("noisy"), resume=True)
    assert "--resume" not in (caught.value.hint or "")
    assert shard_path(run, 0).read_bytes() == before


def test_every_engine_that_was_opened_is_closed_once(tmp_path: Path, evaluated: Evaluate) -> None:
    closed: list[str] = []

    def open_counting(behaviour: Any, **options: Any) -> Callable[[Job], Engine]:
        def opened(job: Job) -> Engine:
            engine = open_fake(job.dataset, job.architecture, behaviour=behaviour, **options)
            engine.close = lambda: closed.append(behaviour)  # type: ignore[method-assign]
            return engine

        return opened

    run = tmp_path / "run"
    with pytest.raises(RunFailedError):
        evaluated(run, open_engine=open_counting("failing", fail_at_image=42))
    with pytest.raises(IntegrityError):
        evaluated(run, open_engine=open_counting("noisy"), resume=True)
    evaluated(tmp_path / "whole", open_engine=open_counting("perfect"))
    assert closed == ["failing", "noisy", "perfect"]


def test_a_failure_in_scoring_loses_no_prediction(tmp_path: Path, evaluated: Evaluate) -> None:
    run = tmp_path / "run"

    def breaking(job: Job) -> Engine:
        engine = open_fake(job.dataset, job.architecture)
        for row in job.dataset.ground_truth["annotations"]:
            row["segmentation"] = [["x"] * 8]  # what an evaluator cannot read
        return engine

    with pytest.raises(RunFailedError, match="scoring failed"):
        evaluated(run, open_engine=breaking)
    assert len(json.loads((run / PREDICTIONS).read_text(encoding="utf-8"))) == 9
    record, _ = evaluated(run, resume=True)
    assert record.metrics["segm/AP"] == pytest.approx(100)


def full(path: Path, texts: Sequence[bytes]) -> None:
    """As the writing of predictions on a full disk."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_predictions_that_cannot_be_written_end_the_run(
    tmp_path: Path, evaluated: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are written beside the scoring, in a thread."""
    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(evaluate, "write_merged", full)
        with pytest.raises(RunFailedError, match="No space left"):
            evaluated(run)
    assert not (run / PREDICTIONS).exists()
    assert not (run / RECORD).exists()
    record, _ = evaluated(run, resume=True)
    assert record.metrics["segm/AP"] == pytest.approx(100)


def test_a_full_disk_is_told_where_scoring_fails_as_well(
    tmp_path: Path, evaluated: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The advice after a failed scoring is to score the predictions again."""

    def broken(*_: object, **__: object) -> None:
        raise TypeError("a fault")

    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(evaluate, "write_merged", full)
        patched.setattr(evaluate, "_score", broken)
        with pytest.raises(RunFailedError, match="No space left") as caught:
            evaluated(run)
    assert "--resume" in (caught.value.hint or "")
    record, _ = evaluated(run, resume=True)
    assert record.metrics["segm/AP"] == pytest.approx(100)


def test_annotations_are_read_once(tmp_path: Path, evaluated: Evaluate, small_coco: Path) -> None:
    """A file that changes while images are inferred changes nothing: nobody reads it again."""

    def removing(job: Job) -> Engine:
        (small_coco / "annotations.json").unlink()
        return open_fake(job.dataset, job.architecture)

    record, _ = evaluated(tmp_path / "run", open_engine=removing)
    assert record.metrics["segm/AP"] == pytest.approx(100)


def test_accuracy_is_judged_only_by_references_of_the_data_set(job: Job) -> None:
    def reference(dataset: str) -> Reference:
        tolerance = Tolerance(below=0.1, above=0.1, source="test")
        return Reference(
            metric="bbox/AP", value=50.0, tolerance=tolerance, dataset=dataset, source="test"
        )

    entry = replace(job.entry, references=(reference("annotations"), reference("elsewhere")))
    real = replace(job, entry=entry, request=replaced(job.request, engine="native"))
    checks = accuracy_checks(real, Scores(metrics={"bbox/AP": 50.2}, per_category=()))
    assert [(row.metric, row.status) for row in checks] == [("bbox/AP", Status.NOT_COMPARABLE)]
    assert "checkpoint" in checks[0].reason
