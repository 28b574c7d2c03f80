"""Whatever happens to a part of the GPU's benchmark costs no other part, and no other number."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu_parts import measured, run_to_its_end
from tests.conftest import REPOSITORY


class Session:
    """What parts share."""

    def __init__(self, left_s: float = 100.0) -> None:
        self.left = left_s
        self.closed = 0

    def left_s(self) -> float:
        """Seconds."""
        return self.left

    def close(self) -> None:
        """Count."""
        self.closed += 1


def test_what_a_part_had_measured_stays_when_it_fails() -> None:
    def part(_: Session, found: dict[str, Any]) -> None:
        found["fp32"] = 1.5
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    session = Session()
    found = measured(part, session, 60.0)
    assert found["fp32"] == 1.5
    assert found["failed"].endswith("CUDA error: an illegal memory access was encountered\n")
    assert found["took_s"] >= 0
    assert session.closed == 1


def test_a_part_that_takes_too_long_is_given_up() -> None:
    def part(_: Session, found: dict[str, Any]) -> None:
        found["fp32"] = 1.5
        while True:
            time.sleep(0.01)

    found = measured(part, Session(), 0.2)
    assert found["fp32"] == 1.5
    assert "given up after 0 s" in found["failed"]
    assert found["took_s"] < 60


def test_a_part_does_not_begin_without_time() -> None:
    def part(_: Session, found: dict[str, Any]) -> None:
        pytest.fail(f"it began: {found}")

    assert measured(part, Session(19.0), 60.0) == {"skipped": "no time left"}


def test_a_program_that_is_ended_leaves_no_process_behind(tmp_path: Path) -> None:
    number = tmp_path / "number"
    words = ["sh", "-c", f"sleep 600 & echo $! > {number}.new; mv {number}.new {number}; wait"]
    with pytest.raises(subprocess.TimeoutExpired):
        run_to_its_end(words, tmp_path, os.environ, 2.0)
    process = Path("/proc") / number.read_text().strip()
    for _ in range(500):
        # Ended, and perhaps not asked for yet by the process that inherited it.
        if not process.exists() or ") Z " in (process / "stat").read_text():
            return
        time.sleep(0.01)
    pytest.fail("it still runs")


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--detectron2", "nowhere", "--detectron2: no source tree of Detectron2: nowhere"),
        ("--parts", "memory,sped", "--parts: no sped; there are memory, proofs"),
        ("--output", "nowhere/gpu.json", "--output: no such folder: "),
        ("--images", "nowhere", "no such folder of images: nowhere"),
        ("--annotations", "nowhere.json", "--annotations: no such file: nowhere.json"),
    ],
)
def test_what_is_wrong_with_the_arguments_is_said_before_a_gpu_is_used(
    option: str, value: str, said: str, small_coco: Path, tmp_path: Path
) -> None:
    words = {
        "--annotations": str(small_coco / "annotations.json"),
        "--images": str(small_coco / "images"),
        "--output": str(tmp_path / "gpu.json"),
        option: value,
    }
    command = [sys.executable, str(REPOSITORY / "benchmarks" / "gpu.py")]
    command += [word for pair in words.items() for word in pair]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
