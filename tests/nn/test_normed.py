"""Normalisations whose statistics a training moves."""

from __future__ import annotations

import pytest
import torch

from harness.nn.normed import BatchNorm


def batch_norm(monkeypatch: pytest.MonkeyPatch) -> BatchNorm:
    """One among several processes, of which it may ask none."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)

    def asking(*_: object) -> None:
        raise AssertionError("the other processes are asked, which wait for this one")

    monkeypatch.setattr(BatchNorm, "_over_all_processes", asking)
    return BatchNorm(3, 1e-5).train()


def test_a_validation_moves_no_statistics_and_asks_no_other_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    norm = batch_norm(monkeypatch)
    maps = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 3 + 1
    with torch.no_grad():
        found = norm(maps)
    assert torch.equal(norm.running_mean, torch.zeros(3))
    assert torch.equal(norm.running_var, torch.ones(3))
    torch.testing.assert_close(found, maps / (1 + 1e-5) ** 0.5)


def test_a_training_does_both(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match="asked"):
        batch_norm(monkeypatch)(torch.ones(2, 3, 4, 4))
