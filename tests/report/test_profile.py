"""A profile in words, rows and a picture."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from harness.core.engine import EngineInfo
from harness.measure.profile import OperatorCost, Overhead, Peak, Profile, StageCost
from harness.report.profile import (
    OPERATOR_COLUMNS,
    OPERATORS_SHOWN,
    STAGE_COLUMNS,
    draw_profile,
    explain,
    operator_rows,
    profile_parts,
    stage_rows,
)
from harness.zoo.architectures import tiny

BACKBONE = StageCost(
    stage="backbone", seconds=0.060, flops=3e9, moved_bytes=3e8, parameters=23_500_000
)
POOLING = StageCost(stage="box pooling", seconds=0.030, flops=0, moved_bytes=6e8, parameters=0)
ENCODE = StageCost(stage="encode", seconds=0.010, flops=0, moved_bytes=0, parameters=0)


@pytest.fixture
def profile() -> Profile:
    """100 ms an image, on a device of 100 GFLOP/s and 40 GB/s."""
    return Profile(
        engine=EngineInfo(
            name="native",
            version="2",
            device="cpu",
            device_class="Some processor",
            precision="fp32",
            threads=2,
            architecture=tiny(),
        ),
        images=8,
        repeats=3,
        traced_images=2,
        seconds=0.098,
        stages=(BACKBONE, POOLING, ENCODE),
        operators=(
            OperatorCost(operator="aten::conv", calls=53, cpu_s=0.06, device_s=0, share=0.75),
            OperatorCost(operator="aten::nms", calls=6, cpu_s=0.02, device_s=0, share=0.25),
        ),
        peak=Peak(flops_per_s=1e11, bytes_per_s=4e10, product="product", copy="1 MiB", repeats=9),
        overhead=Overhead(stages=0.02, operators=0.3),
        method=("a way",),
    )


def test_a_stage_is_held_against_the_peak(profile: Profile) -> None:
    backbone, pooling, encode, total = (
        dict(zip(STAGE_COLUMNS, row, strict=True)) for row in stage_rows(profile)
    )
    assert backbone == {
        "stage": "backbone",
        "ms/image": "60.00",
        "time": "60.0%",
        "GFLOP": "3.00",
        "GFLOP/s": "50.0",
        "of peak": "50%",
        "GB/s": "5.0",
        "of copy": "12%",
        "parameters": "23.50 M",
    }
    assert [pooling[name] for name in ("GFLOP", "of peak", "GB/s", "of copy")] == [
        *("–", "–"),
        *("20.0", "50%"),
    ]
    assert set(list(encode.values())[3:]) == {"–"}
    assert [total[name] for name in ("ms/image", "time", "GFLOP", "of peak", "parameters")] == [
        *("100.00", "100.0%", "3.00", "30%", "23.50 M")
    ]


def test_operators_beyond_the_table_are_one_row(profile: Profile) -> None:
    one = OperatorCost(operator="aten::one", calls=1, cpu_s=0.001, device_s=0, share=0.05)
    rows = operator_rows((one,) * 20)
    assert len(rows) == OPERATORS_SHOWN + 1
    assert rows[-1] == ("8 others", "8.0", "8.00", "–", "40.0%")
    assert len(operator_rows(profile.operators)) == 2


def test_the_sentences_name_the_longest_stage_and_its_distance_to_the_peak(
    profile: Profile,
) -> None:
    most, peak, image, least, other, operator, cost = explain(profile)
    assert most == (
        "backbone takes most: 60% of the 100.0 ms an image, at 50 GFLOP/s, 50% of the measured peak"
    )
    assert "Some processor (2 threads, fp32): 100 GFLOP/s (product), 40.0 GB/s" in peak
    assert "3.00 GFLOP, done at 30 GFLOP/s: 30% of that peak" in image
    assert least.endswith("45.0 ms")  # 30 of arithmetic, 15 of copying
    assert "40%" in other
    assert "aten::conv takes most: 75% of their time on the CPU, in 53 calls" in operator
    assert "marking the stages cost +2% and tracing the operators +30% of the 98.0 ms" in cost


def test_a_stage_that_only_moves_is_held_against_the_copy(profile: Profile) -> None:
    slow = replace(POOLING, seconds=0.3)
    most = explain(replace(profile, stages=(BACKBONE, slow)))[0]
    assert most.endswith("moving 2.0 GB/s, 5% of the measured copy")
    unseen = explain(replace(profile, stages=(BACKBONE, replace(ENCODE, seconds=0.3))))[0]
    assert unseen.endswith("of the 360.0 ms an image")


def test_a_gpu_whose_kernels_were_not_seen_is_said(profile: Profile) -> None:
    on_gpu = replace(profile, engine=replace(profile.engine, device="cuda:0"))
    assert any("trace.log" in sentence for sentence in explain(on_gpu))
    kernel = replace(profile.operators[0], device_s=0.04)
    sentences = explain(replace(on_gpu, operators=(kernel,)))
    assert not any("trace.log" in sentence for sentence in sentences)
    assert any("their time on the GPU" in sentence for sentence in sentences)


def test_markdown_has_both_tables_and_a_list(profile: Profile) -> None:
    told = replace(profile, explanation=explain(profile))
    text = "\n".join(profile_parts(told, "markdown"))
    assert re.search(r"^\| backbone +\| +60\.00 \| +60\.0% \|", text, re.MULTILINE)
    assert re.search(rf"^\| {OPERATOR_COLUMNS[0]} ", text, re.MULTILINE)
    assert "\n- backbone takes most" in text


def test_the_stages_are_drawn(profile: Profile, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib (the extra `plots`) is not installed")
    assert draw_profile(profile, tmp_path / "profile.png")
    with Image.open(tmp_path / "profile.png") as picture:
        assert picture.size == (1200, 600)
        colours = picture.convert("RGB").getcolors(maxcolors=2**24)
    assert colours is not None
    assert len(colours) > 10
