"""Files that harness wrote itself, damaged since: the same result, or an error that names them."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness.core.errors import HarnessError, IntegrityError
from harness.files.history import NightRow, add_night, check_history, read_nights, read_points
from harness.measure.bootstrap import Interval
from harness.workflows.benchmark.sweep_cell import Accuracy, kept
from harness.workflows.runs.checksums import write_checked
from harness.workflows.runs.folder import evaluation_of
from harness.zoo.weights import read_checkpoint, write_checkpoint
from tests.attack.trials import LostError, Trials, mutated, seeds
from tests.panoptic_data import write_panoptic_data

#: Seconds one kind of file is tried for, and inputs at most.
SECONDS, INPUTS = 4, 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of file, and what reads it.

    files: Below the folder that ``make`` fills. read: Returns what the file has part in, comparable
    by ``==``; it may write into the folder.
    """

    name: str
    make: Callable[[Path], None]
    files: tuple[str, ...]
    read: Callable[[Path], Any]


def damaged(content: bytes, foreign: bytes, chance: random.Random) -> bytes | None:
    """A file cut, changed, zeroed or exchanged; None for one that is missing."""
    kind = chance.randrange(10)
    if not content:
        return chance.choice((foreign, b"\0", None))
    digits = [place for place, one in enumerate(content) if 48 <= one < 58]
    if kind < 3 and digits:  # what nothing but a checksum would tell
        place = chance.choice(digits)
        other = 48 + (content[place] - 48 + chance.randrange(1, 10)) % 10
        return content[:place] + bytes([other]) + content[place + 1 :]
    if kind == 3:
        place = chance.randrange(len(content))
        return content[:place] + bytes(len(content[place : place + 4096])) + content[place + 4096 :]
    if kind == 4:
        return chance.choice((foreign, b"", None))
    return mutated(content, chance)


def evaluated(small: Path, folder: Path, **settings: Any) -> harness.RunResult:
    data = {"annotations": small / "annotations.json", "images": small / "images"}
    return harness.evaluate(engine="fake", resamples=0, output=folder / "run", **data, **settings)


def metrics_again(small: Path, folder: Path) -> Any:
    """Metrics but the speed, which depends on what is computed again, and the predictions."""
    result = evaluated(small, folder, resume=True)
    metrics = {name: one for name, one in result.metrics.items() if "throughput" not in name}
    return metrics, result.predictions_path.read_bytes()


def unfinished(small: Path, folder: Path) -> None:
    (evaluated(small, folder).folder / "record.json").unlink()


TENSORS = {"a": np.arange(600, dtype=np.float32), "b": np.ones((3, 4), np.float32)}


def tensors(folder: Path) -> Any:
    found = read_checkpoint(folder / "weights.safetensors")
    return {key: (value.shape, value.tobytes()) for key, value in found.items()}


NIGHT = NightRow(
    night_id="1", created_utc="2026-01-01T00:00:00+00:00", status="pass", environment={"cpu": "x"}
)
POINTS = [(f"cell {n}", "cpu", "", "pass", "bbox/AP", n / 7) for n in range(100)]


def history(folder: Path) -> Any:
    path = folder / "history.sqlite"
    found = read_nights(path), read_points(path)
    check_history(path)
    return found


ACCURACY = Accuracy(
    ap={"bbox/AP": 40.125},
    delta={"bbox/AP": Interval(difference=0.5, low=0.25, high=0.75)},
)


def write_cell(folder: Path) -> None:
    from harness.files.json import dumps, to_plain

    write_checked(folder, "accuracy.json", dumps(to_plain(ACCURACY), indent=2) + "\n")


def cell(folder: Path) -> Any:
    """What a sweep does: what is damaged is computed again, with a line that says so."""
    notices: list[str] = []
    found = kept(folder / "accuracy.json", Accuracy, notices.append)
    if found is None and not notices and (folder / "accuracy.json").exists():
        raise LostError("no line about it")
    return ACCURACY if found is None else found


def segmented(data: Path, images: Path, folder: Path) -> None:
    harness.evaluate(
        model="panoptic_fpn_R_50_3x",
        engine="fake",
        annotations=data / "instances.json",
        images=images,
        panoptic=data / "panoptic.json",
        resamples=0,
        output=folder / "run",
    )


def kinds(small: Path) -> tuple[Kind, ...]:
    of_run = ("run/predictions.json", "run/record.json", "run/run.json", "run/SHA256SUMS")
    of_shards = ("run/shards/0000.jsonl", "run/shards/identity.json", "run/shards/0000.facts.json")
    return (
        Kind(
            name="finished run",
            make=lambda folder: evaluated(small, folder),
            files=of_run,
            read=lambda folder: harness.score(evaluation_of(folder / "run")).metrics,
        ),
        Kind(
            name="unfinished run",
            make=partial(unfinished, small),
            files=(*of_shards, "run/predictions.json", "run/SHA256SUMS", "run/.lock"),
            read=partial(metrics_again, small),
        ),
        Kind(
            name="weights",
            make=lambda folder: write_checkpoint(folder / "weights.safetensors", TENSORS),
            files=("weights.safetensors",),
            read=tensors,
        ),
        Kind(
            name="history",
            make=lambda folder: add_night(folder / "history.sqlite", NIGHT, POINTS),
            files=("history.sqlite",),
            read=history,
        ),
        Kind(name="cell", make=write_cell, files=("accuracy.json",), read=cell),
    )


def outcome(kind: Kind, folder: Path) -> tuple[Any, HarnessError | None]:
    """What was read, or the error instead."""
    try:
        return kind.read(folder), None
    except HarnessError as error:
        return None, error


@pytest.mark.parametrize("number", range(5), ids=lambda n: kinds(Path())[n].name)
def test_damaged_files_change_no_result(
    number: int, trials: Trials, small_coco: Path, tmp_path: Path
) -> None:
    try_damage(kinds(small_coco)[number], trials, small_coco, tmp_path)


def test_damaged_maps_of_segments_change_no_result(
    trials: Trials, small_coco: Path, embedded_root: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    make = partial(segmented, data, write_panoptic_data(data, images=2, root=embedded_root))
    make(tmp_path / "names")
    maps = sorted((tmp_path / "names" / "run" / "panoptic").glob("*.png"))
    assert maps
    kind = Kind(
        name="maps",
        make=make,
        files=(
            *("run/panoptic.json", "run/semantic.json", "run/predictions.json"),
            *(f"run/panoptic/{one.name}" for one in maps),
        ),
        read=lambda folder: harness.score(evaluation_of(folder / "run")).metrics,
    )
    try_damage(kind, trials, small_coco, tmp_path)


def try_damage(kind: Kind, trials: Trials, small_coco: Path, tmp_path: Path) -> None:
    """Damage files of a kind, one at a time, and read what they have part in."""
    whole, work = tmp_path / "whole", tmp_path / "work"
    whole.mkdir()
    kind.make(whole)
    shutil.copytree(whole, work)
    expected = kind.read(work)
    foreign = (small_coco / "annotations.json").read_bytes()
    for chance in seeds(INPUTS, SECONDS):
        name = chance.choice(kind.files)
        shutil.rmtree(work)
        shutil.copytree(whole, work)
        content = damaged((whole / name).read_bytes(), foreign, chance)
        with trials.one(f"{name}: {content[:300] if content else content!r}"):
            (work / name).unlink()
            if content is not None:
                (work / name).write_bytes(content)
            found, error = outcome(kind, work)
            if error is None:
                if found != expected:
                    raise LostError(f"{found!r:.300} instead of {expected!r:.300}")
            else:
                assert isinstance(error, IntegrityError) or (not content and error.exit_code == 2)
