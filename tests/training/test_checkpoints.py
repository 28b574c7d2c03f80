"""Checkpoints whose saving is cut short at any operation on files."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from harness.core.errors import IntegrityError, RunFailedError
from harness.core.requests.training import TrainRequest
from harness.core.settings import identity_defaults
from harness.nn.targets import TrainingNumbers
from harness.training.checkpoints import resume, save
from harness.training.plan import Schedule
from harness.training.processes import World
from harness.training.step import Trainer
from tests.composing import composed

IDENTITY = {"image_sizes_sha256": "a", "image_times_sha256": "b", **identity_defaults(TrainRequest)}


def trainer_at(iteration: int, weight: float) -> Trainer:
    network = nn.Linear(2, 2)
    nn.init.constant_(network.weight, weight)
    return Trainer(
        network=network,
        config=composed(TrainRequest),
        schedule=Schedule(
            iterations=4,
            batch_size=1,
            learning_rate=0.1,
            steps=(),
            warmup=0,
            checkpoint_period=2,
        ),
        numbers=TrainingNumbers(),
        device=torch.device("cpu"),
        world=World(),
        average=None,
        iteration=iteration,
    )


def fail_at(at: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose call of that number, counted from 0, finds a full disk."""
    calls = itertools.count()

    def counted(*words: Any) -> Any:
        if next(calls) == at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return function(*words)

    return counted


@pytest.mark.parametrize("at", range(3), ids=["new sums", "checkpoint", "sums"])
@pytest.mark.parametrize(("where", "name"), [(os, "fsync"), (Path, "replace")])
def test_a_checkpoint_that_is_saved_again_is_never_lost(
    where: Any, name: str, at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is saved before and after an evaluation, under the same name."""
    save(tmp_path, trainer_at(2, 1.0), IDENTITY, {"best": None})
    with monkeypatch.context() as patch:
        patch.setattr(where, name, fail_at(at, getattr(where, name)))
        with pytest.raises(RunFailedError, match="No space left"):
            save(tmp_path, trainer_at(2, 2.0), IDENTITY, {"best": None})
    found = trainer_at(0, 0.0)
    notices: list[str] = []
    resume(tmp_path, found, IDENTITY, notice=notices.append)
    assert notices == []
    assert found.iteration == 2
    assert isinstance(found.network, nn.Linear)
    assert found.network.weight[0, 0].item() == (2.0 if at == 2 else 1.0)


def test_one_that_is_neither_of_two_is_damaged(tmp_path: Path) -> None:
    path = save(tmp_path, trainer_at(2, 1.0), IDENTITY, {})
    sums = path.with_name(f"{path.name}.sha256")
    assert len(sums.read_text(encoding="utf-8").splitlines()) == 1
    two = f"{'0' * 64}  {path.name}\n{'1' * 64}  {path.name}\n"
    for text in ("", "\n", two, "x" * 1_000_000):
        sums.write_text(text, encoding="utf-8")
        with pytest.raises(IntegrityError, match="expected sha256") as raised:
            resume(tmp_path, trainer_at(0, 0.0), IDENTITY)
        assert len(str(raised.value)) < 3000
