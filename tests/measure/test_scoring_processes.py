"""Several processes: the same bits, the same errors, and nobody left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core.errors import RunFailedError
from harness.data.coco import read_annotations
from harness.measure import coco
from harness.measure.coco import score
from harness.measure.evaluators import Share, Task
from harness.measure.scoring_processes import (
    curves_of_all,
    joined_shares,
    partitioned,
    score_shares,
)
from tests.measure.test_coco import shaken

TASKS: tuple[Task, Task] = ("bbox", "segm")


class Read:
    """Something whose reading by another process is a call of ``function``."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def shares_of(small_coco: Path, processes: int) -> list[list[Share]]:
    annotations = read_annotations(small_coco / "annotations.json")
    image_ids = sorted(image["id"] for image in annotations["images"])
    return partitioned(
        annotations,
        shaken(annotations, 3),
        TASKS,
        image_ids=image_ids,
        evaluator="fast",
        processes=processes,
    )


def test_curves_are_the_same_bit_for_bit(small_coco: Path) -> None:
    alone = joined_shares(score_shares(shares_of(small_coco, 1)))
    assert 0 < np.mean(alone["segm"].precision > 0) < 1
    for processes in (2, 3):
        several = joined_shares(score_shares(shares_of(small_coco, processes)))
        for task in TASKS:
            assert np.array_equal(several[task].precision, alone[task].precision)
            assert np.array_equal(several[task].recall, alone[task].recall)


def test_scores_are_the_same(small_coco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    annotations = read_annotations(small_coco / "annotations.json")
    ids = sorted(image["id"] for image in annotations["images"])
    predictions = shaken(annotations, 4)
    alone = score(annotations, predictions, tasks=TASKS, image_ids=ids)
    monkeypatch.setattr(coco, "LEAST_PREDICTIONS", 1)
    assert score(annotations, predictions, tasks=TASKS, image_ids=ids, processes=2) == alone


def test_few_predictions_start_no_process(
    small_coco: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotations = read_annotations(small_coco / "annotations.json")
    monkeypatch.setattr(sys, "executable", "/nowhere")  # it would fail
    score(annotations, shaken(annotations, 4), tasks=TASKS, image_ids=[42], processes=8)


def test_an_error_of_a_child_is_the_error_it_would_be_here(small_coco: Path) -> None:
    here, child = shares_of(small_coco, 2)
    broken = [replace(share, rows=[{"image_id": 42}]) for share in child]
    with pytest.raises(KeyError) as alone:
        curves_of_all(broken)
    with pytest.raises(KeyError) as told:
        score_shares([here, broken])
    assert told.value.args == alone.value.args


def test_a_child_that_dies_says_how(small_coco: Path) -> None:
    here, child = shares_of(small_coco, 2)
    dying = replace(child[0], rows=Read(os._exit, 9))  # type: ignore[arg-type]
    with pytest.raises(RunFailedError, match="exited with code 9: no message"):
        score_shares([here, [dying]])
    failing = replace(child[0], rows=Read(int, "none"))  # type: ignore[arg-type]
    with pytest.raises(
        RunFailedError, match="exited with code 1: ValueError: invalid literal for int"
    ):
        score_shares([here, [failing]])


SCORES_UNTIL_STOPPED = """
import sys
from pathlib import Path
from tests.measure.test_scoring_processes import Read, replace, score_shares, shares_of
here, child = shares_of(Path(sys.argv[1]), 2)
waits = f"__import__('pathlib').Path({sys.argv[2]!r}).write_text(str(__import__('os').getpid()))"
waits += " and __import__('time').sleep(600)"
score_shares([here, [replace(child[0], rows=Read(eval, waits))]])
"""


def test_no_child_outlives_a_parent_that_is_stopped(small_coco: Path, tmp_path: Path) -> None:
    told = tmp_path / "told"
    told.touch()
    root = Path(__file__).parents[2]
    words = [sys.executable, "-c", SCORES_UNTIL_STOPPED, str(small_coco), str(told)]
    parent = subprocess.Popen(words, cwd=root, stderr=subprocess.PIPE)
    while not told.read_text("utf-8"):  # until the child has its share
        assert parent.poll() is None, parent.communicate()[1]
        time.sleep(0.05)
    child = int(told.read_text("utf-8"))
    parent.send_signal(signal.SIGINT)
    _, said = parent.communicate(timeout=60)
    assert b"KeyboardInterrupt" in said
    assert not Path(f"/proc/{child}").exists()
