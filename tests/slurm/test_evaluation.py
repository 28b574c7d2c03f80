"""An evaluation on a real cluster: the single process's bytes, whatever happens to its jobs."""

from __future__ import annotations

import os
import re
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cluster.status import status_of
from harness.core.errors import RunFailedError
from harness.core.run_files import RECORD
from harness.workflows.runs.shards import shard_path
from tests.leases import leased
from tests.slurm.cluster import NODES, Cluster
from tests.slurm.conftest import IMAGES, Submitted, command, words_of

Submit = Callable[..., Submitted]
Whole = tuple[bytes, dict[str, Any]]
Image = Callable[[int], Path]


def accuracy(metrics: dict[str, Any]) -> dict[str, Any]:
    return {name: metrics[name] for name in metrics if name.startswith(("bbox/", "segm/"))}


def test_eight_shards_give_the_bytes_of_one_process(
    submit: Submit, options: list[str], whole: Whole
) -> None:
    run = submit(shards=8)
    record = run.wait()
    assert run.predictions == whole[0]
    assert accuracy(record.metrics) == accuracy(whole[1])
    assert len(accuracy(record.metrics)) == 24
    assert (record.metrics["throughput/all_devices_fps"] or 0) > 0
    assert record.command[:3] == ("harness", "submit", "eval")
    answer = command("status", str(run.folder), "--format", "plain")
    assert answer.code == 0
    assert answer.out.count(" done ") == 9
    assert f"{IMAGES} of {IMAGES} images; no job is running" in answer.out
    answer = command("logs", str(run.folder), "--shard", "7")
    assert "Job completed successfully" in answer.out
    assert f"{run.job(7)}_0_log.out" in answer.out
    answer = command("wait", str(run.folder))
    assert answer.code == 0
    assert "bbox/AP " in answer.out
    again = command("eval", *options, "--resume", "--output", str(run.folder))
    assert again.code == 2
    assert "is finished" in again.err


def test_a_killed_worker_is_started_again_in_its_job(
    submit: Submit, cluster: Cluster, image: Image, whole: Whole
) -> None:
    with leased(image(1)) as release:  # the first of shard 1
        run = submit()
        run.until(lambda: shard_path(run.folder, 1).exists())
        raw = job_id_of(cluster, run.job(1))
        newest = max(pid for pid in cluster.processes_of(raw) if b"spawn_main" in words_of(pid))
        os.kill(newest, signal.SIGKILL)
        release()
    run.wait()
    assert run.predictions == whole[0]
    answer = command("logs", str(run.folder), "--shard", "1")
    assert "its process ended by SIGKILL (out of memory?); attempt 2 of 3 begins" in answer.out


def test_a_warning_is_not_the_end(
    submit: Submit, cluster: Cluster, image: Image, whole: Whole
) -> None:
    """SLURM sends TERM to all processes of a job that may be preempted, and only later kills."""
    with leased(image(1)) as release:
        run = submit()
        run.until(lambda: shard_path(run.folder, 1).exists())
        cluster.answer("scancel", "--signal=TERM", run.job(1))
        run.until(lambda: "Bypassing signal SIGTERM" in run.log(1))
        release()
    run.wait()
    assert run.predictions == whole[0]


def test_a_killed_task_ends_in_one_error_and_the_run_can_go_on(
    submit: Submit, cluster: Cluster, image: Image, whole: Whole
) -> None:
    with leased(image(1)):
        run = submit()
        run.until(lambda: shard_path(run.folder, 1).exists())
        for pid in cluster.processes_of(job_id_of(cluster, run.job(1))):
            if b"submitit.core._submit" in words_of(pid) and b"srun" not in words_of(pid):
                os.kill(pid, signal.SIGKILL)
        run.until_stage(1, "failed")
    failure = run.failure()
    assert isinstance(failure, RunFailedError)
    assert "1 of 3 shards are not complete" in failure.message
    assert f"shard 0001 has 0 of 8 images, its job {run.job(1)} failed" in failure.message
    assert f"log: {run.folder}/jobs/{run.job(1)}_0_log.out" in failure.message
    assert "--resume" in (failure.hint or "")
    assert not (run.folder / RECORD).exists()
    assert run.images() == 16
    submit(shards=2, again=True).wait()
    assert run.predictions == whole[0]


def test_cancelled_by_the_user(
    submit: Submit, options: list[str], image: Image, whole: Whole
) -> None:
    with leased(image(2)):
        run = submit()
        run.until(lambda: run.images() >= 16)
        refused = command("eval", *options, "--resume", "--output", str(run.folder))
        assert refused.code == 2
        assert f"SLURM jobs are still at work in {run.folder}: {run.job(2)}" in refused.err
        answer = command("cancel", str(run.folder))
        assert answer.code == 0
        assert f"cancelled: {run.job(2)}" in answer.out
        run.until_stage(2, "cancelled")
    failure = run.failure()
    assert "shard 0002 has 0 of 8 images" in failure.message
    assert "cancelled" in failure.message
    submit(again=True).wait()
    assert run.predictions == whole[0]


def test_preempted_and_requeued(
    submit: Submit, cluster: Cluster, image: Image, whole: Whole, tmp_path: Path
) -> None:
    with leased(image(4)) as release:  # the second of shard 1
        run = submit(partition="low")
        run.until(lambda: run.images(1) == 1 and run.images() >= 17)
        status = status_of(run.folder)
        assert (status.done, status.total, status.live) == (17, IMAGES, True)
        assert status.eta_s is not None
        assert status.eta_s > 0
        script = tmp_path / "important.sh"
        script.write_text("#!/bin/sh\nsleep 1\n", encoding="utf-8")
        cluster.answer(
            "sbatch", "-p", "high", "-N4", "--exclusive", "-D", str(tmp_path), str(script)
        )
        run.until_stage(1, "requeued")
        release()
    run.wait()
    assert run.predictions == whole[0]
    assert run.images(1) == 8
    answer = command("logs", str(run.folder), "--shard", "1", "--lines", "100")
    assert "this job is preempted" in answer.out


def test_over_its_time_limit_and_requeued(submit: Submit, image: Image, whole: Whole) -> None:
    """SLURM looks at limits twice a minute, so the signal may come that much too early."""
    with leased(image(4)) as first, leased(image(7)) as second:
        run = submit(time_min=1, signal_delay_s=20)
        run.until_stage(1, "requeued")
        first()
        second()
    run.wait()
    assert run.predictions == whole[0]
    answer = command("logs", str(run.folder), "--shard", "1", "--lines", "100")
    assert "this job is timed-out" in answer.out


def test_a_node_that_vanishes(submit: Submit, cluster: Cluster, image: Image, whole: Whole) -> None:
    with leased(image(4)) as release:
        run = submit()
        run.until(lambda: run.images(1) == 1 and run.images() >= 17)
        node = cluster.answer("squeue", "-h", "-j", run.job(1), "-o", "%N")
        assert node in NODES
        cluster.lose_node(node)
        release()
        try:
            record = run.wait()
        finally:
            cluster.start_node(node)
    assert status_of(run.folder).jobs[1].restarts >= 1
    assert run.predictions == whole[0]
    assert accuracy(record.metrics) == accuracy(whole[1])


@pytest.mark.usefixtures("no_byte_code")
def test_a_full_disk(submit: Submit, cluster: Cluster, whole: Whole, tmp_path: Path) -> None:
    """SLURM hands limits on: a limit on file sizes stands for the disk of the nodes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, limits[1]))
    try:
        run = submit()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    failure = run.failure()
    assert "File too large" in failure.message
    assert "shard 0000" in failure.message
    submit(again=True).wait()
    assert run.predictions == whole[0]


def test_a_preemption_test_proves_the_cluster(submit: Submit, whole: Whole) -> None:
    run = submit("--test-preemption", shards=2)
    run.wait()
    assert run.predictions == whole[0]
    proof = run.folder / "jobs" / "preemption_test.txt"
    assert proof.read_text(encoding="utf-8").startswith("every task was preempted")
    out = command("logs", str(run.folder), "--lines", "100").out
    assert out.count("Calling checkpoint method") == 2
    assert [job.restarts for job in status_of(run.folder).jobs] == [1, 1, 0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shards", "0"], "--shards must be at least 1, got 0"),
        (["--dataset", "coco_2017_val", "--model", "R_50_FPN_3x"], "downloads are missing"),
    ],
)
def test_refused_before_anything_is_submitted(
    cluster: Cluster, tmp_path: Path, words: list[str], message: str
) -> None:
    profile = tmp_path / "profile.toml"
    profile.write_text('partition = "main"\n', encoding="utf-8")
    words = ["--cluster", str(profile), "--root", str(tmp_path), *words]
    answer = command("submit", "eval", "--output", str(tmp_path / "run"), *words)
    assert answer.code in (2, 3)
    assert message in answer.err
    assert not (tmp_path / "run").exists()


def test_an_unknown_partition_is_told_in_slurms_words(
    cluster: Cluster, options: list[str], tmp_path: Path
) -> None:
    profile = tmp_path / "profile.toml"
    profile.write_text('partition = "gpus"\n', encoding="utf-8")
    words = ["--cluster", str(profile), "--output", str(tmp_path / "run")]
    answer = command("submit", "eval", *options, *words)
    assert answer.code == 2
    assert "sbatch refuses the job" in answer.err
    assert "invalid partition specified: gpus" in answer.err
    assert "Traceback" not in answer.err
    profile.write_text('partition = "main"\n', encoding="utf-8")
    answer = command("submit", "eval", *options, *words)
    assert answer.code == 0, "the same command works once the profile is right"
    assert command("wait", str(tmp_path / "run")).code == 0


def test_a_folder_of_any_name(submit: Submit, whole: Whole) -> None:
    run = submit(shards=2, name='it\'s an "odd" rün; $HOME & co')
    run.wait()
    assert run.predictions == whole[0]


def test_a_controller_that_is_down(
    cluster: Cluster,
    options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another configuration: its controller would be on a port where nobody listens."""
    text = Path(cluster.environment["SLURM_CONF"]).read_text(encoding="utf-8")
    other = tmp_path / "slurm.conf"
    other.write_text(re.sub(r"(?m)^SlurmctldPort=.*$", "SlurmctldPort=9", text), encoding="utf-8")
    monkeypatch.setenv("SLURM_CONF", str(other))
    profile = tmp_path / "profile.toml"
    profile.write_text("", encoding="utf-8")
    words = ["--cluster", str(profile), "--output", str(tmp_path / "run")]
    answer = command("submit", "eval", *options, *words)
    assert answer.code == 3
    assert answer.err.splitlines()[-2].startswith("error: SLURM's controller does not answer")


def job_id_of(cluster: Cluster, job: str) -> str:
    """The raw id of an array's task."""
    return cluster.answer("squeue", "-h", "-j", job, "-o", "%A")
