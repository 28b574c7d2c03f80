"""Trainings, benches and nights on a real cluster: one job each, on one node or several."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from harness.cluster.status import RunStatus, status_of, wait_for
from harness.core.errors import RunFailedError
from harness.core.progress import Silent
from harness.core.run_files import RECORD
from harness.training.log import read_log
from harness.workflows.runs.submissions import read_submission
from tests.slurm.cluster import Cluster
from tests.slurm.conftest import Answer, command, words_of

PATIENCE_S = 300.0

Submit = Callable[..., Path]


@pytest.fixture
def training(small_coco: Path) -> list[str]:
    """A short training that repeats exactly."""
    annotations, images = str(small_coco / "annotations.json"), str(small_coco / "images")
    return [
        *("--train-annotations", annotations, "--train-images", images),
        *("--val-annotations", annotations, "--val-images", images),
        *("--batch-size", "4", "--init", "none", "--device", "cpu"),
        *("--threads", "1", "--deterministic", "--loaders", "1"),
    ]


def submitted(kind: str, profile: Path, *words: str) -> Path:
    answer = command("submit", kind, "--cluster", str(profile), "--json", *words)
    assert answer.code == 0, answer.err
    return Path(json.loads(answer.out)["folder"])


def wait(folder: Path) -> Answer:
    """Until it is over, and what ``harness wait`` says then."""
    wait_for(folder, progress=Silent(), pause=lambda _: time.sleep(0.2))
    return command("wait", str(folder), "--json")


def until(folder: Path, true: Callable[[RunStatus], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true(status := status_of(folder)):
        assert time.monotonic() < end, status
        time.sleep(0.1)


def losses(folder: Path) -> dict[str, float]:
    line = next(line for line in read_log(folder) if "total_loss" in line)
    return {name: value for name, value in line.items() if "loss" in name}


def weights(folder: Path) -> dict[str, np.ndarray]:
    return load_file(folder / "model_last.safetensors")


def test_two_nodes_with_two_processes_each_train_as_one(
    profile: Path, training: list[str], tmp_path: Path
) -> None:
    words = [*training, "--iterations", "1"]
    curve = tmp_path / "metrics.json"
    lines = [{"iteration": 20 * number, "total_loss": 1.0} for number in range(1, 31)]
    lines[-1]["bbox/AP"] = 40.0
    curve.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    folder = submitted(
        *("train", profile, *words, "--nodes", "2", "--tasks-per-node", "2"),
        *("--output", str(tmp_path / "four"), "--reference-curve", str(curve)),
    )
    assert command("train", *words, "--output", str(tmp_path / "one")).code == 0
    record = json.loads(wait(folder).out)
    assert record["command"][:3] == ["harness", "submit", "train"]
    assert "bbox/AP" in record["metrics"]
    four, one = losses(folder), losses(tmp_path / "one")
    assert four.keys() == one.keys()
    assert len(four) >= 6
    assert four == pytest.approx(one, rel=2e-6)
    # ... and so are the weights after the update that followed.
    updated, expected = weights(folder), weights(tmp_path / "one")
    assert max(np.abs(updated[name] - expected[name]).max() for name in expected) < 1e-6
    logs = command("logs", str(folder)).out
    assert [f"_{rank}_log.out" in logs for rank in range(5)] == [True] * 4 + [False]
    status = command("status", str(folder), "--format", "plain").out
    assert "1/1" in status
    assert "1 of 1 iterations, loss " in status
    assert "warning: iteration 1: bbox/AP" in status


def test_a_training_survives_a_preemption_test(
    profile: Path, training: list[str], tmp_path: Path
) -> None:
    """The command itself fails unless the weights are those of an undisturbed training."""
    words = [*training, "--iterations", "16", "--tasks-per-node", "2", "--test-preemption"]
    folder = submitted("train", profile, *words, "--output", str(tmp_path / "run"))
    assert wait(folder).code == 0
    assert (folder / "undisturbed" / RECORD).exists()
    assert [job.restarts for job in status_of(folder).jobs] == [1]
    log = (folder / "log.txt").read_text(encoding="utf-8")
    assert "stopped by SIGUSR2" in log
    assert "continuing at iteration" in command("logs", str(folder), "--lines", "99").out
    assert [line["iteration"] for line in read_log(folder)][-1] == 16


def test_a_killed_process_of_a_training_ends_it_with_a_way_on(
    cluster: Cluster, profile: Path, training: list[str], tmp_path: Path
) -> None:
    words = [*training, "--iterations", "400", "--eval-every", "4", "--tasks-per-node", "2"]
    folder = submitted("train", profile, *words, "--output", str(tmp_path / "run"))
    until(folder, lambda _: any((folder / "checkpoints").glob("*.pth")))
    refused = command("submit", "train", *words, "--cluster", str(profile), "--output", str(folder))
    assert refused.code == 2
    ranks = [
        pid
        for pid in cluster.processes_of(read_submission(folder).final_job)
        if b"submitit.core._submit" in words_of(pid) and b"srun" not in words_of(pid)
    ]
    os.kill(max(ranks), signal.SIGKILL)
    until(folder, lambda status: not status.live)
    with pytest.raises(RunFailedError, match=r"the training job .* failed") as caught:
        wait(folder)
    assert f"log: {folder}/jobs/" in caught.value.message
    assert "the last checkpoint is kept; continue with: " in (caught.value.hint or "")
    again = submitted("train", profile, *words, "--output", str(folder), "--resume")
    until(again, lambda _: "continuing at" in command("logs", str(again)).out)
    assert f"cancelled: {read_submission(folder).final_job}" in command("cancel", str(again)).out
    until(again, lambda status: not status.live)


def test_a_bench_and_its_verdict(profile: Path, root: Path, tmp_path: Path) -> None:
    words = ["--engine", "fake", "--limit", "4", "--root", str(root), "--min-duration", "0"]
    folder = submitted("bench", profile, *words, "--output", str(tmp_path / "bench"))
    record = json.loads(wait(folder).out)
    assert record["kind"] == "bench"
    assert record["metrics"]["fps"] > 0
    assert command("wait", str(folder)).code == 0
    refused = command("submit", "bench", *words, "--cluster", str(profile), "--output", str(folder))
    assert refused.code == 2
    assert "already holds a finished run" in refused.err


def test_a_night_is_the_one_of_a_single_machine(profile: Path, root: Path, tmp_path: Path) -> None:
    matrix = tmp_path / "matrix.toml"
    matrix.write_text('[[block]]\nengines = ["fake"]\nlimit = 4\n', encoding="utf-8")
    results = tmp_path / "results"
    words = ["--matrix", str(matrix), "--root", str(root), "--results"]
    folder = submitted("nightly", profile, *words, str(results))
    assert folder.parent == results / "nights"
    here = command("nightly", *words, str(tmp_path / "here"), "--json")
    there = wait(folder)
    assert there.code == here.code
    assert accuracies(there) == accuracies(here)
    assert (results / "history.sqlite").exists()
    assert (folder / "index.html").exists()


def accuracies(answer: Answer) -> list[dict[str, float]]:
    """The 24 numbers of every cell."""
    found = [cell["metrics"] for cell in json.loads(answer.out)["cells"]]
    names = ("bbox/", "segm/")
    kept = [{name: one[name] for name in one if name.startswith(names)} for one in found]
    assert all(kept)
    return kept


def test_data_that_is_missing_is_told_before_anything_is_submitted(
    profile: Path, tmp_path: Path
) -> None:
    words = ["--model", "R_50_FPN_1x", "--root", str(tmp_path), "--cluster", str(profile)]
    for kind in ("train", "bench"):
        answer = command("submit", kind, *words, "--output", str(tmp_path / "run"))
        assert answer.code == 3, answer.err
        assert not (tmp_path / "run").exists()


def test_the_batch_scripts_for_those_without_the_command(
    cluster: Cluster, training: list[str], root: Path, repository: Path, tmp_path: Path
) -> None:
    """As a user submits them: from a checkout with its environment and the data beside it."""
    checkout = tmp_path / "checkout"
    (checkout / "results").mkdir(parents=True)
    shutil.copytree(repository / "slurm", checkout / "slurm")
    shutil.copy(repository / "model_zoo.lock.json", checkout)
    (checkout / "datasets").symlink_to(root)
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "activate").write_text(
        f"export PATH={Path(sys.executable).parent}:$PATH PYTHONPATH={repository}\n", "utf-8"
    )
    (checkout / "slurm" / "nightly.toml").write_text(
        '[[block]]\nengines = ["fake"]\nlimit = 4\n', encoding="utf-8"
    )
    # The retraining's script asks for a signal five minutes before the end of the time limit.
    size = ["--cpus-per-task=1", "--time=30", f"--chdir={checkout}"]
    scripts = checkout / "slurm"
    night = cluster.answer("sbatch", "--gpus=0", *size, str(scripts / "nightly.sbatch"))
    wanted = [str(scripts / "retrain.sbatch"), "tiny", *training, "--iterations", "2"]
    retrain = cluster.answer("sbatch", "--nodes=2", "--gpus-per-node=0", *size, *wanted)
    for said in (night, retrain):
        assert said.startswith("Submitted batch job")
    expect(checkout / "results", "nights/*/night.json")
    expect(checkout / "results", "retrain/tiny-*/record.json")


def expect(results: Path, pattern: str) -> None:
    """Wait for a file below ``results``; what the logs say if it never comes."""
    end = time.monotonic() + PATIENCE_S
    while not list(results.glob(pattern)):
        logs = [path.read_text(encoding="utf-8") for path in results.glob("*.log")]
        assert time.monotonic() < end, "\n".join(logs)
        time.sleep(0.1)
