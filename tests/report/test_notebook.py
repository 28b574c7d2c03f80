"""Progress in a notebook: what its view has, and that it is one view."""

from __future__ import annotations

from typing import Any

from harness.core.progress import Curves
from harness.report.progress_views import NotebookProgress, notebook_display


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
