"""The picture of a training."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from harness.report.curves import draw_curves, smoothed


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
