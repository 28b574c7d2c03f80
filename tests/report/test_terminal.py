"""Progress where stderr is no terminal: lines in a log."""

from __future__ import annotations

import pytest

from harness.report import progress_views
from harness.report.progress_views import TerminalProgress


def test_a_line_of_a_log_has_the_last_note(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([0.0, 1.0, 40.0])
    monkeypatch.setattr(progress_views.time, "monotonic", lambda: next(now))
    with TerminalProgress().task("train", total=10, unit="it") as advance:
        advance(1, "loss 0.500")
        advance(1)  # the note of the call before is still what is known
    assert "train: 2/10 it, 0.05 it/s, loss 0.500" in capsys.readouterr().err
