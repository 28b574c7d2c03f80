"""Several runs in one plot: AP over each cost, and a run that lacks one is left out there alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.report.curves import COSTS, RunPoint, draw_runs, runs_figure

METRICS = {"bbox/AP": 30.0, "segm/AP": 20.0}


def test_every_cost_has_a_panel() -> None:
    pytest.importorskip("matplotlib", reason="needs the packages of the extra plots")
    whole = RunPoint("a/light", METRICS, 0.05, 10_000_000, 2_500_000, 3e9)
    without = RunPoint("a/heavy", METRICS, None, 170_000_000, None, None)
    figure = runs_figure([without, whole])
    assert [axes.get_xlabel() for axes in figure.axes] == [label for label, _ in COSTS.values()]
    # Box and mask AP of each run that has the cost.
    assert [len(axes.lines) for axes in figure.axes] == [2, 4, 2, 2]
    costs = [float(axes.lines[-1].get_xdata()[0]) for axes in figure.axes]
    assert costs == pytest.approx([50.0, 10.0, 2.5, 3.0])
    texts = {text.get_text() for text in figure.legends[0].get_texts()}
    # The run that only has a size is named as well.
    assert texts == {f"{run}: {ap} AP" for run in ("heavy", "light") for ap in ("box", "mask")}


def test_a_plot_has_the_name_it_was_given_and_another_format_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the packages of the extra plots")
    runs = [RunPoint("a", METRICS, 0.05, 10_000_000, None, None)]
    begins = {"new/plot.png": b"\x89PNG", "plot": b"\x89PNG", "plot.svg": b"<?xml"}
    for name, begin in begins.items():
        assert draw_runs(runs, tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(begin)
    refused = {
        "plot.xyz": "written as .xyz",
        "plot.pgf": "written as .pgf",  # which matplotlib leaves to a TeX that may not be there
        ".": "is a folder, not a file",
    }
    for name, problem in refused.items():
        with pytest.raises(UsageError, match=problem):
            draw_runs(runs, Path(name))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["new", "plot", "plot.svg"]
