"""The picture of a training."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from PIL import Image

from harness.core.tasks import MAIN_METRICS
from harness.nn import losses
from harness.report.curves import (
    LOSSES,
    OTHERS,
    curves_figure,
    distinct_names,
    draw_curves,
    smoothed,
)


def test_curves_are_a_picture_of_the_log(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib (the extra `plots`) is not installed")
    lines = [
        {"iteration": step, "total_loss": 5.0 / step, "loss_cls": 1.0 / step}
        for step in range(20, 200, 20)
    ]
    lines.append({"iteration": 180, "bbox/AP": 31.5, "validation/total_loss": 2.0})
    assert draw_curves(lines, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (1600, 640)
        colours = picture.convert("RGB").getcolors(maxcolors=2**24)
    assert colours is not None
    assert len(colours) > 10  # axes and at least three curves


def test_smoothing_takes_the_middle_of_neighbours() -> None:
    lines = [{"iteration": step, "loss": 100.0 if step == 3 else 1.0} for step in range(1, 8)]
    assert [line["loss"] for line in smoothed(lines, "loss")] == [1.0] * 7


def test_one_evaluation_has_room_around_its_point(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib (the extra `plots`) is not installed")
    assert draw_curves([{"iteration": 12, "bbox/AP": 0.0}], tmp_path / "curves.png", title="one")


def test_a_log_without_lines_still_draws(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib (the extra `plots`) is not installed")
    assert draw_curves([], tmp_path / "curves.png")


def test_every_curve_has_a_colour_of_its_own_and_nothing_is_written_on_them() -> None:
    pytest.importorskip("matplotlib", reason="matplotlib (the extra `plots`) is not installed")
    lines: list[dict[str, float]] = [
        {"iteration": step, "lr": 0.1, **dict.fromkeys(LOSSES, 2.0)} for step in (20, 40, 60)
    ]
    for step, score in ((0, 0.03), (20, 30.0), (60, 20.0)):
        losses = {f"{kind}/total_loss": 3.0 for kind in OTHERS}
        lines.append({"iteration": step, **losses, **dict.fromkeys(MAIN_METRICS, score)})
    figure = curves_figure(lines, title="all", reference=lines)
    losses_panel, scores_panel, _ = figure.axes
    for panel in (losses_panel, scores_panel):
        assert not panel.texts
        texts = [text.get_text() for text in panel.get_legend().get_texts()]
        named = [line for line in panel.lines if not line.get_label().startswith("_")]
        own = [line for line in named if not line.get_label().startswith("earlier")]
        assert texts == [line.get_label() for line in named]
        assert len({line.get_color() for line in own}) == len(own)
    assert "box AP, best 30.00 at 20" in texts
    # Points at the ends of an axis are whole.
    left, right = scores_panel.get_xlim()
    assert left < 0
    assert right > 60


def test_every_loss_that_a_training_logs_has_a_curve() -> None:
    """Detectron2's names of the losses, as `harness.nn.losses` lists them."""
    listed = re.findall(r"\bloss_[a-z_]+\b", inspect.getdoc(losses) or "")
    assert len(listed) == 7
    assert set(LOSSES) == {"total_loss", *listed}


def test_runs_of_one_name_in_two_folders_are_named_apart() -> None:
    assert distinct_names(["results/light", "results/heavy"]) == ["light", "heavy"]
    assert distinct_names(["light/run", "heavy/run", "run"]) == ["light/run", "heavy/run", "run"]
    assert distinct_names(["a/run", "a/run"]) == ["run", "run"]
    assert distinct_names([]) == []
