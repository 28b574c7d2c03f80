"""A training that is killed in the middle, continued, and compared with one that was not."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from safetensors.numpy import load_file

from tests.end_to_end.conftest import Answer

#: Iterations of the trainings: a checkpoint after each, and time to be killed in the others.
ITERATIONS = 3


def require_same_bytes_after_a_kill(
    harness: Callable[..., Answer], project: Path, words: Sequence[str]
) -> None:
    """Check that a training killed after its first checkpoint ends with the weights of another.

    Args:
        harness: The command line in this process.
        project: Folder of the runs.
        words: Of the training, without its iterations and its folder.
    """
    often = ("--iterations", str(ITERATIONS), "--checkpoint-every", "1", "--eval-every", "0")
    slow = ("--lr", "0.00001", "--clip-gradients", "1")  # random weights diverge at more
    command = ["train", *words, *often, *slow, "--deterministic", "--threads", "1"]
    command.append("--no-pictures")
    unbroken = harness(*command, "--output", "unbroken")
    assert unbroken.code == 0, unbroken.err
    killed = subprocess.Popen(
        [sys.executable, "-m", "harness", *command, "--output", "killed"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=project,
    )
    checkpoints = project / "killed" / "checkpoints"
    while not list(checkpoints.glob("iteration-*.pth")):
        assert killed.poll() is None, "ended before its first checkpoint"
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    assert not (project / "killed" / "record.json").exists()
    resumed = harness(*command, "--output", "killed", "--resume")
    assert resumed.code == 0, resumed.err
    assert "continuing at iteration" in resumed.err
    names = ("model_last.safetensors", "model_best.safetensors")
    for name in names:
        first, second = ((project / run / name) for run in ("unbroken", "killed"))
        assert first.read_bytes() == second.read_bytes(), name
    assert len(load_file(project / "killed" / names[0])) > 100
