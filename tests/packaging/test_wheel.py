"""The wheel, installed where there is no checkout, works and writes nothing beside its code."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.files.toml import read_table

pytest.importorskip("hatchling", reason="needs the package hatchling, which builds the wheel")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]

Installed = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A virtual environment with the built wheel in it, and the packages of this one in reach.

    A path file adds them after its own. It does not read their path files, so an editable
    installation of the checkout stays out of reach.
    """
    folder = tmp_path_factory.mktemp("wheel") / "an environment"
    built = folder.parent / "dist"
    build = ["hatchling", "build", "--target", "wheel", "--directory", str(built)]
    subprocess.run([sys.executable, "-m", *build], cwd=repository, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (wheel,) = built.glob("coco_harness-*.whl")
    install = ["--python", str(folder / "bin" / "python"), "install", "--no-deps", "--no-index"]
    subprocess.run(
        [sys.executable, "-m", "pip", *install, str(wheel)], check=True, capture_output=True
    )
    own = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    (Path(own) / "others.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def installed(environment: Path, tmp_path: Path, home: Path) -> Installed:
    """Run a program of the environment in an empty folder, as a user with an empty home."""
    work = tmp_path / "an empty folder"
    work.mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "OMP_NUM_THREADS") if name in os.environ}

    def run(program: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(environment / "bin" / program), *words],
            cwd=work,
            env={**kept, "HOME": str(home)},
            capture_output=True,
            text=True,
            timeout=500,
        )

    return run


def files_of(environment: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of every file in the environment."""
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in environment.rglob("*")
        if path.is_file()
    }


def test_eval_writes_to_the_working_folder_and_the_cache(
    installed: Installed, environment: Path, tmp_path: Path, home: Path
) -> None:
    before = files_of(environment)
    done = installed("harness", "eval", "--limit", "4")
    assert done.returncode == 0, done.stderr
    assert "only 4 of 64 images" in done.stdout
    (record,) = (tmp_path / "an empty folder" / "results" / "runs").glob("*/record.json")
    assert json.loads(record.read_text(encoding="utf-8"))["kind"] == "eval"
    data = home / ".cache" / "coco-harness" / "datasets"
    assert len(list(data.rglob("*.png"))) == 64
    assert files_of(environment) == before


def test_it_names_its_places(installed: Installed, tmp_path: Path, home: Path) -> None:
    done = installed("harness", "doctor", "--json")
    found: dict[str, Any] = {one["subject"]: one["found"] for one in json.loads(done.stdout)}
    cache = home / ".cache" / "coco-harness" / "datasets"
    assert found["data sets and checkpoints"].startswith(f"{cache} (")
    assert found["results"].startswith(f"{tmp_path / 'an empty folder' / 'results'} (")


def test_it_names_the_packages_of_an_extra(installed: Installed, repository: Path) -> None:
    project = read_table(repository / "pyproject.toml", what="file")["project"]
    code = "from harness.files.extras import install_command as c; print(c('serve'))"
    done = installed("python", "-c", code)
    expected = ["pip", "install", *project["optional-dependencies"]["serve"]]
    assert sorted(shlex.split(done.stdout)) == sorted(expected), done.stderr
