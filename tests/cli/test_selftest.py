"""``harness selftest`` says what is identical, and would say what is not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli.main import run
from harness.workflows.selftest import ShardTrial, differing

TRIAL = ShardTrial(
    workers=1,
    predictions=2,
    predictions_sha256="ab",
    accuracy={"bbox/AP": 1.0},
    all_devices_fps=1.0,
    one_device_fps=1.0,
)


@pytest.mark.slow
def test_workers_agree_on_the_embedded_set(
    embedded_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["selftest", "shards", "--engine", "fake", "--workers", "1", "3", "--json"]
    assert run([*words, "--root", str(embedded_root)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["identical"] is True
    assert [trial["workers"] for trial in answer["trials"]] == [1, 3]
    assert all(trial["predictions"] > 100 for trial in answer["trials"])


def test_every_difference_has_its_sentence() -> None:
    assert differing([TRIAL, TRIAL]) == []
    other = replace(TRIAL, workers=2, predictions_sha256="cd", accuracy={"bbox/AP": 1.5})
    assert differing([TRIAL, other]) == [
        "2 workers gave other predictions than 1",
        "2 workers gave other metrics than 1",
    ]
    assert "nothing to compare" in differing([replace(TRIAL, predictions=0)])[0]
