"""Progress where stderr is no terminal is lines in a log; in a notebook it is one view."""

from __future__ import annotations

from typing import Any

import pytest

from harness.core.progress import Curves
from harness.report import progress_views
from harness.report.progress_views import NotebookProgress, TerminalProgress, notebook_display


def test_a_line_of_a_log_has_the_last_note(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([0.0, 1.0, 40.0])
    monkeypatch.setattr(progress_views.time, "monotonic", lambda: next(now))
    with TerminalProgress().task("train", total=10, unit="it") as advance:
        advance(1, "loss 0.500")
        advance(1)  # the note of the call before is still what is known
    assert "train: 2/10 it, 0.05 it/s, loss 0.500" in capsys.readouterr().err


class Cell:
    """What a notebook shows of an object, every time that it is drawn."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.cells = 0

    def display(self, view: Any) -> Cell:
        self.cells += 1
        self.update(view)
        return self

    def update(self, view: Any) -> None:
        self.shown.append(view._repr_html_())


def test_one_view_has_bar_notices_and_curves() -> None:
    cell = Cell()
    progress = NotebookProgress(cell.display)
    assert isinstance(progress, Curves)
    progress.notice("iteration 20: <b>AP</b>")
    with progress.task("train", total=40, unit="it") as advance:
        advance(20, "loss 0.500")
        progress.curve({"iteration": 20, "total_loss": 0.5})
        progress.curve({"iteration": 40, "total_loss": 0.25, "bbox/AP": None})
        advance(20)
    last = cell.shown[-1]
    assert cell.cells == 1  # drawn again in place
    assert "train: 40 of 40 it  loss 0.500" in last
    assert 'value="1.0000"' in last
    assert "&lt;b&gt;AP" in last
    assert last.count("<polyline") == 1
    assert "training loss 0.25" in last


def test_outside_of_a_notebook_there_is_no_display() -> None:
    assert notebook_display() is None
