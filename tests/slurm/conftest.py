"""One real cluster for all tests here, and runs on it; skipped where SLURM is not installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harness.cluster.status import status_of, wait_for
from harness.core.errors import HarnessError
from harness.core.progress import Silent
from harness.core.record import RunRecord
from harness.core.run_files import PREDICTIONS
from harness.launch.slurm import log_of
from harness.workflows.runs.folder import read_record
from harness.workflows.runs.shards import read_lines, shard_path, shard_paths
from harness.workflows.runs.submissions import JOBS, read_submission
from tests.slurm.cluster import Cluster, missing_packages

#: Images of the embedded validation set that a run is given.
IMAGES = 24
PATIENCE_S = 300.0

PROFILE = """
partition = "{partition}"
time_min = {time_min}
cpus_per_task = 1
signal_delay_s = {signal_delay_s}
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests in this folder as slow, and keep them in one process: one cluster for all."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.xdist_group("slurm"))


class Answer(NamedTuple):
    code: int
    out: str
    err: str


class Submitted:
    """A run on the cluster, as its user sees it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def predictions(self) -> bytes:
        return (self.folder / PREDICTIONS).read_bytes()

    def job(self, shard: int) -> str:
        return read_submission(self.folder).shards[shard].job_id

    def images(self, shard: int | None = None) -> int:
        """Images that a shard has, or all have."""
        paths = shard_paths(self.folder) if shard is None else [shard_path(self.folder, shard)]
        return len(read_lines([path for path in paths if path.exists()]))

    def log(self, shard: int) -> str:
        """What the job of a shard said."""
        return log_of(self.folder / JOBS, self.job(shard)).read_text(encoding="utf-8")

    def until(self, true: Callable[[], Any]) -> None:
        """Wait for something the cluster does in its own time."""
        end = time.monotonic() + PATIENCE_S
        while not true():
            assert time.monotonic() < end, status_of(self.folder)
            time.sleep(0.1)

    def until_stage(self, shard: int, stage: str) -> None:
        self.until(lambda: status_of(self.folder).jobs[shard].stage == stage)

    def wait(self) -> RunRecord:
        """The record, or what was raised instead."""
        wait_for(self.folder, progress=Silent(), pause=lambda _: time.sleep(0.2))
        return read_record(self.folder)

    def failure(self) -> HarnessError:
        with pytest.raises(HarnessError) as caught:
            self.wait()
        return caught.value


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    missing = missing_packages()
    if missing:
        pytest.skip(f"needs a real SLURM: apt-get install {' '.join(missing)}")
    started = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        started.start()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in started.environment.items():
                patch.setenv(name, value)
            yield started
    finally:
        started.stop()


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the embedded data set is generated once."""
    return tmp_path_factory.mktemp("datasets")


@pytest.fixture(scope="session")
def options(root: Path) -> list[str]:
    return ["--engine", "fake", "--limit", str(IMAGES), "--loaders", "1", "--root", str(root)]


@pytest.fixture(scope="session")
def whole(
    options: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[bytes, dict[str, Any]]:
    """Predictions and metrics of one process on this machine."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    answer = command("eval", *options, "--output", str(folder), "--json")
    assert answer.code == 0, answer.err
    return (folder / PREDICTIONS).read_bytes(), json.loads(answer.out)["metrics"]


@pytest.fixture(scope="session")
def image(root: Path, whole: Any) -> Callable[[int], Path]:
    """The file of an image, by its place in the data set."""
    (path,) = root.rglob("annotations.json")
    images = json.loads(path.read_text(encoding="utf-8"))["images"]
    names = [one["file_name"] for one in sorted(images, key=lambda one: one["id"])]
    return lambda place: path.parent / "images" / names[place]


@pytest.fixture
def submit(cluster: Cluster, options: list[str], tmp_path: Path) -> Callable[..., Submitted]:
    """Submit with the command line; keywords are fields of the profile."""

    def submitted(
        *more: str, shards: int = 3, name: str = "run", again: bool = False, **given: Any
    ) -> Submitted:
        profile = tmp_path / "profile.toml"
        facts = {"partition": "main", "time_min": 20, "signal_delay_s": 30, **given}
        profile.write_text(PROFILE.format(**facts), encoding="utf-8")
        words = ["submit", "eval", *options, "--cluster", str(profile), "--shards", str(shards)]
        words += ["--output", str(tmp_path / name), "--json", *more, *(["--resume"] * again)]
        answer = command(*words)
        assert answer.code == 0, answer.err
        assert json.loads(answer.out)["folder"] == str(tmp_path / name)
        return Submitted(tmp_path / name)

    return submitted


@pytest.fixture
def profile(cluster: Cluster, tmp_path: Path) -> Path:
    """A file that describes the cluster."""
    path = tmp_path / "profile.toml"
    path.write_text('partition = "main"\ntime_min = 20\ncpus_per_task = 1\n', encoding="utf-8")
    return path


def command(*words: str, **options: Any) -> Answer:
    """The command line in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "harness", *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=dict(os.environ),
        **options,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def words_of(pid: int) -> bytes:
    """The command line of a process; nothing once it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
