"""A sweep in rows, sentences, a picture and a page."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from harness.core.record import DatasetFacts
from harness.files.environment import read_environment
from harness.measure.sweep import Sweep, SweepCell, recommend
from harness.report.page import sweep_page
from harness.report.sweep import columns_of, recommendations, sweep_parts, sweep_rows
from harness.report.sweep_plot import HEIGHT, SCALE, WIDTH, Box, draw_sweep, plots_of
from harness.workflows.benchmark.sweep import SweepResult
from tests.measure.test_sweep import cell, setting


def swept(*cells: SweepCell) -> Sweep:
    return Sweep(
        run_id="20260101-000000-sweep-tiny-native-abcdef",
        created_utc="2026-01-01T00:00:00+00:00",
        harness_version="0",
        command=("harness", "sweep"),
        request={},
        model="tiny",
        checkpoint=None,
        dataset=DatasetFacts(
            name="small",
            annotations_path="a.json",
            images_dir="images",
            digest="0",
            image_count=6,
            evaluated_images=6,
            warnings=(),
        ),
        environment=read_environment(),
        tolerance_ap=0.1,
        cells=tuple(named(one) for one in cells),
        choices=recommend(cells, 0.1),
    )


def named(one: SweepCell) -> SweepCell:
    """Its tasks under the names of real ones."""
    names = dict(zip(("task0", "task1"), ("bbox/AP", "segm/AP"), strict=True))
    return replace(
        one,
        ap={names[key]: value for key, value in one.ap.items()},
        delta={names[key]: value for key, value in one.delta.items()},
    )


@pytest.fixture
def sweep() -> Sweep:
    skipped = replace(cell("tf32", 1), status="skipped", reason="no GPU", speed=None)
    return swept(
        cell("fp32", 1, 0, 0),
        cell("bf16", 2, 0.05, -0.02, width=0.3),
        cell("fp16", 3, 0.2, 0),
        cell("fp32", 1.5, 0, 0, batch_size=4),
        skipped,
        replace(skipped, setting=setting("tf32", 4)),
        replace(skipped, setting=setting("int8"), status="failed", reason="<broken> & bent"),
    )


def test_rows_tell_costs_against_the_reference(sweep: Sweep) -> None:
    first, second, third, fourth = (
        dict(zip(columns_of(sweep), row, strict=True)) for row in sweep_rows(sweep)
    )
    assert first["box AP (95 %)"] == "50.00"
    assert first["note"] == "reference"
    assert second["setting"] == "bf16 contiguous b1"
    assert second["box AP (95 %)"] == "-0.05 (-0.35 … +0.25)"
    assert second["mask AP (95 %)"] == "+0.02 (-0.28 … +0.32)"
    assert (second["ratio"], second["FPS"]) == ("2.00", "20.00")
    assert second["note"] == "best at batch 1"
    assert third["note"] == ""
    assert fourth["note"] == "best in batches"


def test_sentences_recommend_with_their_doubts(sweep: Sweep) -> None:
    verdict, throughput = recommendations(sweep)
    assert verdict.startswith("one image at a time (verdict mode): bf16 contiguous b1 is the")
    assert "not certain: the interval reaches a cost of 0.35 AP" in verdict
    assert "--precision bf16 --memory-format contiguous --batch-size 1" in verdict
    assert "fp32 contiguous b4" in throughput
    assert "not certain" not in throughput
    text = "\n".join(map(str, sweep_parts(sweep, "markdown")))
    assert "- skipped 2 settings: no GPU" in text
    assert "- failed: int8 contiguous b1: <broken> & bent" in text


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        ([cell("fp32", 1, 0), cell("bf16", 0.9, 0)], "no setting within 0.1 AP is faster"),
        ([cell("fp32", 1, None), cell("bf16", 2, None)], "AP cannot be computed on these images"),
        (
            [cell("fp32", 1, 0), cell("bf16", 2, 0.5, batch_size=2)],
            "every setting costs more than 0.1 AP; the least, 0.50, bf16 contiguous b2",
        ),
    ],
)
def test_nothing_is_recommended_without_grounds(cells: list[SweepCell], sentence: str) -> None:
    assert any(sentence in one for one in recommendations(swept(*cells)))


def test_the_plot_has_every_measured_setting_in_its_frame(sweep: Sweep) -> None:
    box, mask = plots_of(sweep)
    assert (box.title[:6], mask.title[:7]) == ("box AP", "mask AP")
    assert len(box.dots) == 4
    fp32, bf16, fp16, batch = box.dots
    assert fp32.x < batch.x < bf16.x < fp16.x
    assert float(box.x_ticks[0][1]) > 0, "no room is lost where nothing was measured"
    assert fp32.y == fp32.low_y == box.zero_y
    assert bf16.high_y < bf16.y < bf16.low_y
    assert box.zero_y < box.tolerance_y < fp16.y
    assert [dot.picked for dot in box.dots] == [False, True, False, True]
    for dot in box.dots:
        assert 0 < dot.high_y <= dot.low_y < HEIGHT
        assert 0 < dot.x < WIDTH


def test_a_line_from_a_dot_ends_at_the_nearest_side_of_its_name(sweep: Sweep) -> None:
    dot = plots_of(sweep)[0].dots[0]
    above = Box(dot.x - 30, dot.y - 40, dot.x + 50, dot.y - 28)
    assert replace(dot, box=above).leader == (dot.x, above.bottom)
    beside = Box(dot.x + 20, dot.y - 6, dot.x + 90, dot.y + 6)
    assert replace(dot, box=beside).leader == (beside.left - 2, dot.y)
    before = Box(dot.x - 90, dot.y + 10, dot.x - 20, dot.y + 22)
    assert replace(dot, box=before).leader == (before.right + 2, before.top)


def test_the_picture_is_a_png_of_both_plots(sweep: Sweep, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    assert draw_sweep(sweep, tmp_path / "sweep.png")
    with Image.open(tmp_path / "sweep.png") as picture:
        assert picture.size == (2 * WIDTH * SCALE, HEIGHT * SCALE)
    without = swept(cell("fp32", 1, None))
    assert not draw_sweep(without, tmp_path / "none.png")


def test_the_page_needs_nothing_else(sweep: Sweep) -> None:
    page = sweep_page(sweep)
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "&lt;broken&gt; &amp; bent" in page
    for start in [at for at in range(len(page)) if page.startswith("<svg", at)]:
        drawing = ElementTree.fromstring(page[start : page.index("</svg>", start) + 6])
        assert len(list(drawing.iter("title"))) == 4


def test_a_sweep_is_one_line_in_a_notebook(sweep: Sweep, tmp_path: Path) -> None:
    result = SweepResult(sweep=sweep, folder=tmp_path)
    assert repr(result) == f"<SweepResult of tiny: {len(sweep.cells)} cells ({tmp_path})>"
