"""One holder a folder, nothing overwritten, and every failure says how to go on."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from harness.core.errors import IntegrityError, Interrupted, RunFailedError, UsageError
from harness.core.progress import Silent
from harness.core.requests.inference import BenchRequest, EvalRequest, SweepRequest
from harness.core.run_files import PREDICTIONS, RECORD, RUN, SHARDS
from harness.core.settings import replaced
from harness.workflows.evaluation.resolve import Job
from harness.workflows.runs.checksums import SUMS
from harness.workflows.runs.files import new_run_id, read_run
from harness.workflows.runs.folder import Run, announce, keeping, next_step, open_run

NOW = datetime(2026, 11, 20, 22, 45, 7, tzinfo=timezone.utc)
COMMAND = ("harness", "eval", "--images", "my images")


@pytest.fixture
def request_(job: Job) -> EvalRequest:
    return EvalRequest(inference=job.request)


def opened(
    request: EvalRequest | BenchRequest | SweepRequest, job: Job, now: datetime = NOW
) -> AbstractContextManager[Run]:
    return open_run(
        request, job.dataset_facts, job.checkpoint, command=COMMAND, now=now, progress=Silent()
    )


def with_output(request: EvalRequest, output: Path, resume: bool = False) -> EvalRequest:
    return EvalRequest(inference=request.inference, output=output, resume=resume)


def test_default_folder_is_named_by_the_run(project: Path, request_: EvalRequest, job: Job) -> None:
    with opened(request_, job) as run:
        assert run.folder == project / "results" / "runs" / run.run_id
    assert run.run_id.startswith("20261120-224507-eval-tiny-fake-")
    assert read_run(run.folder).run_id == run.run_id
    assert read_run(run.folder).dataset == job.dataset_facts


def test_run_ids_differ_within_a_second(request_: EvalRequest) -> None:
    later = NOW + timedelta(microseconds=1)
    other = EvalRequest(inference=request_.inference, evaluator="both")
    ids = {new_run_id(request_, NOW), new_run_id(request_, later), new_run_id(other, NOW)}
    assert len(ids) == 3


def test_two_processes_never_share_a_folder(
    tmp_path: Path, request_: EvalRequest, job: Job
) -> None:
    request = with_output(request_, tmp_path / "run")
    with opened(request, job):
        before = (tmp_path / "run" / RUN).read_bytes()
        with pytest.raises(UsageError, match="another process"), opened(request, job):
            raise AssertionError("entered")
        assert (tmp_path / "run" / RUN).read_bytes() == before
    with opened(request, job):
        pass


def test_a_run_of_another_kind_is_not_continued(
    tmp_path: Path, request_: EvalRequest, job: Job
) -> None:
    sweep = SweepRequest(inference=request_.inference, output=tmp_path / "run")
    with opened(sweep, job):
        pass
    request = with_output(request_, tmp_path / "run", resume=True)
    with (
        pytest.raises(UsageError, match="a run of another kind: sweep, not eval"),
        opened(request, job),
    ):
        raise AssertionError("entered")


def test_results_of_something_else_are_not_overwritten(
    tmp_path: Path, request_: EvalRequest, job: Job
) -> None:
    theirs = tmp_path / "run" / PREDICTIONS
    theirs.parent.mkdir()
    theirs.write_text("[]", encoding="utf-8")
    request = with_output(request_, theirs.parent)
    with pytest.raises(UsageError, match="no run of harness wrote"), opened(request, job):
        raise AssertionError("entered")
    assert theirs.read_text(encoding="utf-8") == "[]"


@pytest.mark.parametrize("output", ["/proc/nowhere", "file/run"])
def test_unwritable_output(tmp_path: Path, request_: EvalRequest, job: Job, output: str) -> None:
    (tmp_path / "file").touch()
    request = with_output(request_, tmp_path / output)
    with pytest.raises(UsageError, match="cannot write"), opened(request, job):
        raise AssertionError("entered")


def test_a_folder_with_predictions_is_not_overwritten(
    tmp_path: Path, request_: EvalRequest, job: Job
) -> None:
    request = with_output(request_, tmp_path / "run")
    with opened(request, job) as run:
        (run.folder / SHARDS).mkdir()
    with pytest.raises(UsageError, match="unfinished run") as caught, opened(request, job):
        raise AssertionError("entered")
    assert "--resume" in (caught.value.hint or "")
    (run.folder / RECORD).touch()
    with pytest.raises(UsageError, match="a finished run"), opened(request, job):
        raise AssertionError("entered")


def test_a_run_that_never_began_leaves_its_folder_free(
    tmp_path: Path, request_: EvalRequest, job: Job
) -> None:
    request = with_output(request_, tmp_path / "run")
    with pytest.raises(IntegrityError), opened(request, job):
        raise IntegrityError("the checkpoint is another one")
    with opened(request, job, NOW + timedelta(seconds=1)) as run:
        assert read_run(run.folder).run_id == run.run_id


def test_resume_keeps_the_run_id(tmp_path: Path, request_: EvalRequest, job: Job) -> None:
    with opened(with_output(request_, tmp_path / "run"), job) as first:
        pass
    later = NOW + timedelta(hours=1)
    with opened(with_output(request_, tmp_path / "run", resume=True), job, later) as second:
        assert second.run_id == first.run_id


def test_resume_without_output_finds_the_newest_run_of_the_same_request(
    project: Path, request_: EvalRequest, job: Job
) -> None:
    resume = EvalRequest(inference=request_.inference, resume=True)
    with pytest.raises(UsageError, match="nothing to resume"), opened(resume, job):
        raise AssertionError("entered")
    folders = []
    for minutes, request in enumerate(
        (request_, request_, EvalRequest(inference=request_.inference, evaluator="both"), request_)
    ):
        with opened(request, job, NOW + timedelta(minutes=minutes)) as run:
            folders.append(run.folder)
    (folders[-1] / RECORD).touch()
    with opened(resume, job, NOW + timedelta(hours=1)) as run:
        assert run.folder == folders[1]


def test_nothing_to_resume_fails(tmp_path: Path, request_: EvalRequest, job: Job) -> None:
    request = with_output(request_, tmp_path / "run", resume=True)
    with pytest.raises(UsageError, match="nothing to resume in"), opened(request, job):
        raise AssertionError("entered")
    assert not (tmp_path / "run").exists()
    with opened(with_output(request_, tmp_path / "run"), job) as run:
        folder = run.folder
    predictions = f"nothing is left to do; its predictions: {folder / PREDICTIONS}"
    # In the order of the rows: scored; images without annotations; not of an evaluation; no record.
    for content, expected in (
        ({"kind": "eval", "metrics": {"bbox/AP": 0.0}}, "harness score"),
        ({"kind": "eval", "metrics": {"bbox/AP": None, "throughput/fps": 3.0}}, predictions),
        ({"kind": "eval", "metrics": {}}, predictions),
        ({"kind": "train", "metrics": {"bbox/AP": 1.0}}, f"what it made is in {folder}"),
        ([], f"what it made is in {folder}"),
    ):
        (folder / RECORD).write_text(json.dumps(content), "utf-8")
        with pytest.raises(UsageError, match="is finished") as caught, opened(request, job):
            raise AssertionError("entered")
        assert expected in (caught.value.hint or "")


def test_interruption_names_the_command_that_continues(
    odd_tmp_path: Path, request_: EvalRequest, job: Job
) -> None:
    request = with_output(request_, odd_tmp_path)
    with pytest.raises(Interrupted) as caught, opened(request, job):
        raise KeyboardInterrupt
    assert caught.value.exit_code == 130
    hint = caught.value.hint or ""
    assert hint.startswith("continue with: harness eval --images 'my images' --output ")
    assert hint.endswith(" --resume")
    assert "error: interrupted" in (odd_tmp_path / "log.txt").read_text(encoding="utf-8")


def test_continuing_twice_names_every_option_once(
    tmp_path: Path, request_: EvalRequest, job: Job
) -> None:
    with opened(with_output(request_, tmp_path / "run"), job):
        pass
    command = ("harness", "eval", "--resume", f"--output={tmp_path / 'run'}")
    resumed = with_output(request_, tmp_path / "run", resume=True)
    with open_run(
        resumed, job.dataset_facts, job.checkpoint, command=command, now=NOW, progress=Silent()
    ) as run:
        assert run.again == f"harness eval --output={tmp_path / 'run'} --resume"


def test_a_speed_run_cannot_be_continued(tmp_path: Path, job: Job) -> None:
    request = BenchRequest(inference=job.request, output=tmp_path / "run")
    with pytest.raises(Interrupted, match="start it again"), opened(request, job):
        raise KeyboardInterrupt


def test_failures_of_the_disk_are_errors(tmp_path: Path, request_: EvalRequest, job: Job) -> None:
    request = with_output(request_, tmp_path / "run")
    with pytest.raises(RunFailedError, match="No space left") as caught, opened(request, job):
        Path("/dev/full").write_text("x", encoding="ascii")
    assert "--resume" in (caught.value.hint or "")


def test_a_training_without_a_checkpoint_is_begun_again_and_not_continued(
    tmp_path: Path, request_: EvalRequest, job: Job
) -> None:
    with opened(with_output(request_, tmp_path / "run"), job) as run:
        training = replace(run, kind="train", command=("harness", "train", "--seed", "3"))
        assert next_step(run) == f"continue with: {run.again}"
        assert next_step(training).endswith("start it again with: harness train --seed 3")
        (run.folder / "checkpoints").mkdir()
        (run.folder / "checkpoints" / "iteration-0000001.pth").touch()
        assert next_step(training) == f"continue with: {run.again}"


def test_keeping_adds_how_to_continue_to_the_hint(
    tmp_path: Path, request_: EvalRequest, job: Job
) -> None:
    with opened(with_output(request_, tmp_path / "run"), job) as run:
        with pytest.raises(IntegrityError) as caught, keeping(run):
            raise IntegrityError("image 3 is cut off", hint="fetch it again")
        assert caught.value.message == "image 3 is cut off"
        first, second = (caught.value.hint or "").split("\n")
        assert first == "fetch it again"
        assert f"{run.again}" in second
        with pytest.raises(UsageError, match=r"^plain$"), keeping(run):
            raise UsageError("plain")


def test_notices_are_logged_over_several_sessions(
    tmp_path: Path, request_: EvalRequest, job: Job
) -> None:
    for resume, text in ((False, "first"), (True, "second")):
        with opened(with_output(request_, tmp_path / "run", resume), job) as run:
            announce(run, text)
    logged = (tmp_path / "run" / "log.txt").read_text(encoding="utf-8").splitlines()
    assert [line.partition(" ")[2] for line in logged if "folder" not in line] == [
        "first",
        "second",
    ]


def test_no_line_is_added_behind_a_link(tmp_path: Path, request_: EvalRequest, job: Job) -> None:
    """The folder of a run may come from someone else."""
    other = tmp_path / "other"
    other.write_text("precious\n", encoding="utf-8")
    with opened(with_output(request_, tmp_path / "run"), job):
        (tmp_path / "run" / "log.txt").unlink()
    (tmp_path / "run" / "log.txt").symlink_to(other)
    with (
        pytest.raises(RunFailedError, match="symbolic links"),
        opened(with_output(request_, tmp_path / "run", True), job) as run,
    ):
        announce(run, "second")
    assert other.read_text(encoding="utf-8") == "precious\n"


def test_a_folder_without_a_run_or_with_a_broken_one(
    tmp_path: Path, request_: EvalRequest, job: Job
) -> None:
    with pytest.raises(UsageError, match="holds no run"):
        read_run(tmp_path)
    (tmp_path / "own.json").write_text("[]", encoding="utf-8")
    with pytest.raises(UsageError, match=r"own\.json is a file, not the folder of a run") as told:
        read_run(tmp_path / "own.json")
    assert "harness score --predictions" in str(told.value.hint)
    with opened(with_output(request_, tmp_path / "run"), job):
        pass
    plain = json.loads((tmp_path / "run" / RUN).read_text(encoding="utf-8"))
    (tmp_path / "run" / RUN).write_text(json.dumps({**plain, "kind": "no kind"}), encoding="utf-8")
    with pytest.raises(IntegrityError, match="is not the file that was written"):
        read_run(tmp_path / "run")
    (tmp_path / "run" / SUMS).unlink()
    with pytest.raises(IntegrityError, match="kind"):
        read_run(tmp_path / "run")


def test_an_unfinished_run_is_found_whatever_changes_no_number(
    project: Path, request_: EvalRequest, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(request_, job) as begun:
        pass
    annotations = request_.inference.data.annotations
    assert annotations is not None
    monkeypatch.setenv("HARNESS_ROOT", str(project))
    monkeypatch.chdir(annotations.parent)
    relative = Path(annotations.name)
    again = replaced(request_, resume=True, loaders=7, graphs=False, annotations=relative)
    with opened(again, job) as found:
        assert found.folder == begun.folder
    other = replaced(again, score_threshold=0.5)
    with pytest.raises(UsageError, match="nothing to resume"), opened(other, job):
        raise AssertionError("entered")


def test_paths_of_a_run_mean_the_same_in_any_folder(
    tmp_path: Path, request_: EvalRequest, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotations = request_.inference.data.annotations
    assert annotations is not None
    monkeypatch.chdir(annotations.parent)
    typed = replaced(request_, annotations=Path(annotations.name), output=tmp_path / "run")
    with opened(typed, job) as run:
        kept = json.loads((run.folder / RUN).read_text(encoding="utf-8"))["request"]
    assert kept["inference"]["annotations"] == str(annotations)
