"""What the answers of SLURM's programs mean; the programs themselves: tests/slurm."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.errors import PrerequisiteError
from harness.launch.clients import JobState, read_live, read_past, require_slurm, states


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
