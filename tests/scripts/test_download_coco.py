"""``scripts/download_coco.sh`` is a door to ``harness download``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = "scripts/download_coco.sh"


@pytest.fixture
def project(repository: Path, odd_tmp_path: Path) -> Path:
    """A checkout without an environment of its own, at a path that breaks careless shells."""
    (odd_tmp_path / "scripts").mkdir()
    shutil.copy(repository / SCRIPT, odd_tmp_path / SCRIPT)
    shutil.copy(repository / "model_zoo.lock.json", odd_tmp_path)
    return odd_tmp_path


def script(project: Path, path: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(project / SCRIPT), *options],
        capture_output=True,
        text=True,
        cwd=project,
        env={**os.environ, "PATH": path},
    )


def with_harness(project: Path) -> str:
    """A search path on which there is the ``harness`` under test."""
    folder = project / "bin"
    folder.mkdir()
    (folder / "harness").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m harness "$@"\n')
    (folder / "harness").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_options_go_through(project: Path) -> None:
    options = ("--only", "val,val100", "--dry-run", "--json")
    done = script(project, with_harness(project), *options)
    assert done.returncode == 0, done.stderr
    names = [row["name"] for row in json.loads(done.stdout)]
    assert names == [
        "val2017.zip",
        "instances_val2017_100.json",
        "person_keypoints_val2017_100.json",
        "val2017_100.tgz",
    ]


@pytest.mark.parametrize(
    "options",
    [(), pytest.param(("--root", "else where"), marks=pytest.mark.slow), ("--root=else where",)],
)
def test_data_goes_into_the_project_unless_told_otherwise(
    project: Path, options: tuple[str, ...]
) -> None:
    path = with_harness(project)
    checkpoint = "checkpoints/mask_rcnn_R_50_FPN_3x/model_final_f10217.pkl"
    there = project / ("else where" if options else "datasets") / checkpoint
    there.parent.mkdir(parents=True)
    there.touch()
    done = script(project, path, *options, "--model", "R_50_FPN_3x", "--dry-run", "--json")
    assert json.loads(done.stdout)[-1]["action"] == "would-prove", done.stderr


def test_exit_codes_go_through(project: Path) -> None:
    done = script(project, with_harness(project), "--onyl", "val")
    assert done.returncode == 2
    assert "did you mean --only?" in done.stderr


def test_without_harness_it_says_what_to_do(project: Path) -> None:
    tools = Path(shutil.which("dirname") or "").parent
    if (tools / "harness").exists():
        pytest.skip("harness is installed among the system's own programs")
    done = script(project, str(tools))
    assert done.returncode == 3
    assert "run: make -C" in done.stderr
