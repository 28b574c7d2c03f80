"""The batch scripts that are handed to SLURM; SLURM itself: tests/slurm."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.core.errors import RunFailedError
from harness.launch.cluster_profile import Profile
from harness.launch.slurm import Size, script, submit
from harness.launch.slurm_tasks import PartTask, Work


def directives(text: str) -> dict[str, str]:
    """The options in a batch script."""
    lines = [line for line in text.splitlines() if line.startswith("#SBATCH --")]
    pairs = [line.removeprefix("#SBATCH --").partition("=") for line in lines]
    return {name: value for name, _, value in pairs}


def written(profile: Profile, folder: Path = Path("/shared/run/jobs"), **given: object) -> str:
    facts = {"name": "harness", "size": Size(), "count": 4, **given}
    return script(profile, folder=folder, **facts)  # type: ignore[arg-type]


def test_a_profile_becomes_options_of_sbatch() -> None:
    profile = Profile(
        partition="gpu",
        account="us",
        qos="long",
        constraint="a100",
        time_min=90,
        gpus_per_node=4,
        cpus_per_task=8,
        memory_gb=1.5,
        jobs_at_once=3,
        signal_delay_s=60,
        options={"mail-type": "END", "exclusive": True},
    )
    found = directives(written(profile, size=Size(gpus=1)))
    assert (
        found.items()
        >= {
            "partition": "gpu",
            "account": "us",
            "qos": "long",
            "constraint": "a100",
            "time": "90",
            "gpus-per-node": "1",
            "cpus-per-task": "8",
            "mem": "1536MB",
            "array": "0-3%3",
            "signal": "USR2@60",
            "mail-type": "END",
            "exclusive": "",
            "requeue": "",
        }.items()
    )


def test_what_is_left_out_is_left_to_the_cluster() -> None:
    found = directives(written(Profile(), count=1))
    assert not {"partition", "account", "mem", "gpus-per-node", "array", "dependency"} & set(found)


def test_the_scoring_job_waits_and_asks_for_no_gpu() -> None:
    profile = Profile(partition="gpu", cpu_partition="cpu", gpus_per_node=4)
    found = directives(written(profile, count=1, after="77"))
    assert found["dependency"] == "afterany:77"
    assert found["partition"] == "cpu"
    assert "gpus-per-node" not in found
    assert directives(written(profile, size=Size(gpus=1)))["partition"] == "gpu"


def test_a_group_of_processes_is_one_job() -> None:
    profile = Profile(memory_gb=1.5, scratch=Path("/scratch/$USER"))
    text = written(profile, count=1, size=Size(nodes=2, tasks=4, gpus=4))
    found = directives(text)
    wanted = {"nodes": "2", "ntasks-per-node": "4", "gpus-per-node": "4", "mem": "6144MB"}
    assert found.items() >= wanted.items()
    # The script itself runs on the first node alone.
    assert 'srun --nodes=2 --ntasks-per-node=1 mkdir -p "/scratch/$USER"' in text
    assert "srun --nodes=2 --ntasks-per-node=1 test -d /shared/run/jobs || exit 3" in text
    assert "array" not in found


def test_the_script_is_shell_whatever_the_folder_is_called(odd_tmp_path: Path) -> None:
    profile = Profile(setup=("export A=1",), scratch=Path("/scratch/a b"), python="run it")
    text = written(profile, folder=odd_tmp_path)
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    lines = text.splitlines()
    assert lines.index("export A=1") < lines.index(
        'mkdir -p "/scratch/a b" && export TMPDIR="/scratch/a b"'
    )
    assert "--kill-on-bad-exit=1 run it -u -m submitit.core._submit" in text


def submitted(count: int, folder: Path) -> list[str]:
    """The job ids of parts that never run."""
    works = [Work(name="one", item=number, log=folder / "log") for number in range(count)]
    parts = [PartTask(print, work, folder / "failure") for work in works]
    return submit(parts, Profile(), folder=folder / "jobs", name="harness", size=Size())


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("answer", ["Submitted batch job 4242", "4242", "4242;c1"])
def test_the_number_of_a_job_is_read_from_every_form_of_the_answer(
    sbatch: Callable[[str], None], tmp_path: Path, answer: str, count: int
) -> None:
    sbatch(answer)
    found = submitted(count, tmp_path)
    assert found == (["4242"] if count == 1 else ["4242_0", "4242_1", "4242_2"])


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("answer", ["", "sbatch: error: quota", "job", "no job 42x"])
def test_an_answer_without_a_number_is_quoted(
    sbatch: Callable[[str], None], tmp_path: Path, answer: str, count: int
) -> None:
    sbatch(answer)
    with pytest.raises(RunFailedError, match=re.escape(f"no number of a job: {answer!r}")):
        submitted(count, tmp_path)


@pytest.fixture
def sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put an sbatch on the path that prints what it is told to, whatever it is given."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    (tmp_path / "bin").mkdir()

    def say(answer: str) -> None:
        for name, said in (("sbatch", answer), ("srun", ""), ("sinfo", "ok"), ("scontrol", "ok")):
            program = tmp_path / "bin" / name
            program.write_text(f"#!/bin/sh\nprintf '%s\\n' {shlex.quote(said)}\n", "utf-8")
            program.chmod(0o755)

    return say
