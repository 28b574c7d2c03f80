"""What a training writes, line by line, what is read of it later, and its best evaluation."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import HarnessError, IntegrityError
from harness.training.log import (
    SUMS,
    Best,
    TrainingLog,
    last_iteration,
    read_curve,
    read_log,
    selection_metric,
)
from tests.measure.test_curve_band import curve


def test_what_a_lost_life_wrote_is_told_once(tmp_path: Path) -> None:
    told: list[Mapping[str, Any]] = []
    with TrainingLog(tmp_path, 0, 0, told.append) as log:
        for iteration in range(1, 61):
            log.add(iteration, {"total_loss": 1.0 / iteration, "lr": 0.1})
            if iteration in (20, 40):
                log.write(iteration, {"bbox/AP": float(iteration)})
    assert [line["iteration"] for line in told] == [20, 20, 40, 40, 60]
    # Its last checkpoint is of iteration 40, from before the evaluation there.
    again: list[Mapping[str, Any]] = []
    with TrainingLog(tmp_path, 40, 20, again.append) as log:
        assert [(one["iteration"], "bbox/AP" in one) for one in log.earlier] == [
            (20, False),
            (20, True),
            (40, False),
        ]
        log.write(40, {"bbox/AP": 40.5})
    assert [line.get("bbox/AP") for line in read_log(tmp_path)] == [None, 20.0, None, 40.5]
    assert [line["iteration"] for line in again] == [40]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read the curve"),
        ("not json", "is not the metrics.json"),
        ('[{"iteration": 1}]', "has 0 lines with a total_loss"),
        ('{"iteration": 20, "total_loss": 1.0}', "has 1 lines with a total_loss; expected 20"),
    ],
)
def test_a_file_that_is_no_curve(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "metrics.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(HarnessError, match=message):
        read_curve(path)


def test_a_curve_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text("".join(json.dumps(line) + "\n" for line in curve(500)), encoding="utf-8")
    assert list(read_curve(path)) == curve(500)


LOSSES = {"validation/total_loss": 0.7, "validation/loss_cls": 0.2}
SCORES = {"bbox/AP": 40.0, "segm/AP": 36.0, "bbox/AP50": 60.0}


def test_by_ap_it_is_the_mean_of_both_tasks() -> None:
    assert selection_metric("ap", LOSSES, SCORES) == pytest.approx(38.0)
    assert selection_metric("ap", LOSSES, {"bbox/AP50": 60.0}) == -1.0


def test_by_loss_less_is_better() -> None:
    worse = {"validation/total_loss": 0.8}
    assert selection_metric("loss", LOSSES, SCORES) > selection_metric("loss", worse, SCORES)


@pytest.mark.parametrize("best_by", ["ap", "loss"])
def test_the_first_evaluation_is_always_the_best_so_far(best_by: str) -> None:
    assert selection_metric(best_by, {"validation/total_loss": 1e9}, {}) > Best().value  # type: ignore[arg-type]


def written(folder: Path) -> list[dict[str, Any]]:
    with TrainingLog(folder, 0, 0, lambda _: None) as log:
        for iteration in range(1, 101):
            log.add(iteration, {"total_loss": 1.0 / iteration, "lr": 0.1, "time": 0.5})
    return read_log(folder)


def test_a_changed_digit_of_a_log_is_found(tmp_path: Path) -> None:
    lines, path, chance = written(tmp_path), tmp_path / "metrics.json", random.Random(5)
    whole = path.read_bytes()
    digits = [place for place, one in enumerate(whole) if 48 <= one < 58]
    for place in chance.sample(digits, 60):
        other = 48 + (whole[place] - 48 + chance.randrange(1, 10)) % 10
        path.write_bytes(whole[:place] + bytes([other]) + whole[place + 1 :])
        with pytest.raises(IntegrityError, match=r"metrics\.json is damaged in line \d"):
            read_log(tmp_path)
    last = whole.rindex(b"0.5")
    path.write_bytes(whole[:last] + b"0.4" + whole[last + 3 :])
    with pytest.raises(IntegrityError, match="its checksum is not in"):
        last_iteration(tmp_path)
    # What the hint says: without that line the others are read.
    path.write_bytes(whole.split(b"\n", 1)[1])
    assert read_log(tmp_path) == lines[1:]


def test_a_log_of_an_older_version_is_continued_and_its_checksums_begin(tmp_path: Path) -> None:
    lines = written(tmp_path)
    (tmp_path / SUMS).unlink()
    assert read_log(tmp_path) == lines
    with TrainingLog(tmp_path, 60, 60, lambda _: None) as log:
        assert log.earlier == lines[:3]
    assert read_log(tmp_path) == lines[:3]
    assert len((tmp_path / SUMS).read_text(encoding="ascii").split()) == 3
