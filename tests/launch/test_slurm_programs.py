"""What the answers of SLURM's programs mean; the programs themselves: tests/slurm."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.errors import PrerequisiteError, RunFailedError
from harness.launch.slurm import job_number
from harness.launch.slurm_programs import JobState, ask, read_live, read_past, require_slurm, states


def test_squeue_tells_what_is_alive() -> None:
    assert read_live("7_0|RUNNING|None|n1|0|\n7_1|PENDING|BeginTime||1|\n") == {
        "7_0": JobState(state="RUNNING", live=True, node="n1"),
        "7_1": JobState(state="PENDING", live=True, reason="BeginTime", restarts=1),
    }
    assert read_live("") == {}


def test_of_several_attempts_sacct_lists_the_last_counts() -> None:
    answer = (
        "7_2|CANCELLED by 0|0:15|n3\n9|PREEMPTED|0:0|n1\n9|NODE_FAIL|1:0|n2\n9|COMPLETED|0:0|n3"
    )
    assert read_past(answer) == {
        "7_2": JobState(state="CANCELLED", live=False, reason="exit code 0:15", node="n3"),
        "9": JobState(state="COMPLETED", live=False, node="n3", restarts=2),
    }


def test_no_slurm_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PrerequisiteError, match="no sbatch, srun, squeue") as caught:
        require_slurm()
    assert "--dry-run" in (caught.value.hint or "")
    with pytest.raises(PrerequisiteError, match="no squeue"):
        states(["1"])


@pytest.mark.parametrize(
    "answer",
    [
        "4242 RUNNING N/A",
        "N/A",
        "squeue: error: something broke",
        "7_0||None|n1|0|",
        "7_0|RUNNING|None|n1|many|",
        "error|RUNNING|None|n1|0|",
        "x" * 100_000,
    ],
)
def test_what_squeue_never_answers_is_quoted(answer: str) -> None:
    with pytest.raises(RunFailedError, match="squeue returned no list") as caught:
        read_live(answer)
    assert answer[:20] in caught.value.message
    assert len(caught.value.message) < 400


@pytest.mark.parametrize("answer", ["77_0||0:0|n1", "sacct: error: no database", "77|FAILED"])
def test_what_sacct_never_answers_is_quoted(answer: str) -> None:
    with pytest.raises(RunFailedError, match="sacct returned no list of jobs") as caught:
        read_past(answer)
    assert answer in caught.value.message


def test_nothing_and_forgotten_jobs_are_no_jobs() -> None:
    assert read_live("\n  \nslurm_load_jobs error: Invalid job id specified\n") == {}
    assert read_past("\n") == {}
    assert read_live("7|PENDING|N/A|(null)|N/A|")["7"] == JobState(state="PENDING", live=True)


def test_programs_that_cannot_be_started_or_print_no_text(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    program = tmp_path / "squeue"
    program.write_bytes(b"no program")
    program.chmod(0o755)
    with pytest.raises(PrerequisiteError, match="squeue cannot be started"):
        ask("squeue")
    program.write_bytes(b"#!/bin/sh\nprintf '7|R\\351|None|n1|0|'\n")
    assert read_live(ask("squeue"))["7"].state == "R\ufffd"


@pytest.mark.parametrize(
    ("answer", "number"),
    [("Submitted batch job 4242\n", "4242"), ("4242;c1\n", "4242"), ("4242\n", "4242")],
)
def test_the_number_of_a_job_is_found(answer: str, number: str) -> None:
    assert job_number(answer) == number


@pytest.mark.parametrize("answer", ["", "\n", "sbatch: error: 17 nodes", "job", "N/A"])
def test_an_answer_without_a_number_is_kept(answer: str) -> None:
    from submitit.core.utils import FailedSubmissionError

    with pytest.raises(FailedSubmissionError) as caught:
        job_number(answer)
    assert str(caught.value) == answer
