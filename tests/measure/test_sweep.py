"""Which setting a sweep recommends."""

from __future__ import annotations

import pytest

from harness.core.engine import EngineInfo
from harness.measure.bootstrap import Interval
from harness.measure.sweep import Choice, Setting, Speed, SweepCell, recommend
from harness.zoo.architectures import tiny

ENGINE = EngineInfo(
    name="native",
    version="2",
    device="cpu",
    device_class="a CPU",
    precision="fp32",
    threads=1,
    architecture=tiny(),
)


def cell(
    name: str, ratio: float, *costs: float | None, width: float = 0.0, batch_size: int = 1
) -> SweepCell:
    """A measured cell. name: of its precision; costs: AP points lost by each task."""
    speed = Speed(
        engine=ENGINE,
        fps=10.0 * ratio,
        ratio=ratio,
        latency_p50_s=0.1,
        latency_p90_s=0.1,
        latency_p99_s=0.1,
        peak_memory_bytes=1,
        first_answer_s=0.1,
        passes=1,
        timed_images=1,
    )
    delta = {
        f"task{number}": None
        if cost is None
        else Interval(difference=-cost, low=-cost - width, high=-cost + width)
        for number, cost in enumerate(costs)
    }
    return SweepCell(
        setting=setting(name, batch_size),
        status="measured",
        speed=speed,
        ap=dict.fromkeys(delta, 50.0),
        delta=delta,
    )


def setting(name: str, batch_size: int = 1) -> Setting:
    return Setting(
        precision=name,  # type: ignore[arg-type]  # any name will do
        memory_format="contiguous",
        compile=False,
        batch_size=batch_size,
    )


@pytest.mark.parametrize(
    ("cells", "chosen"),
    [
        # The fastest that is inside, not the fastest.
        ([cell("fp32", 1, 0, 0), cell("bf16", 2, 0.05, 0.1), cell("fp16", 3, 0.2, 0)], "bf16"),
        # A task that gains does not make up for one that loses.
        ([cell("fp32", 1, 0, 0), cell("bf16", 2, -1.0, 0.11)], "fp32"),
        ([cell("fp32", 1, 0), cell("bf16", 2, -0.3)], "bf16"),
        # Of equal ones the first; a slower one never.
        ([cell("fp32", 1, 0), cell("tf32", 1, 0), cell("bf16", 0.5, 0)], "fp32"),
        # Without an AP of every task nothing is known.
        ([cell("fp32", 1, 0, None), cell("bf16", 2, 0, None)], None),
        ([cell("fp32", 1), cell("bf16", 2)], None),
    ],
)
def test_the_fastest_that_costs_little(cells: list[SweepCell], chosen: str | None) -> None:
    expected = None if chosen is None else setting(chosen)
    (choice,) = recommend(cells, 0.1)
    assert (choice.mode, choice.setting) == ("verdict", expected)


@pytest.mark.parametrize(("width", "certain"), [(0.04, True), (0.06, False)])
def test_a_choice_is_certain_when_its_whole_interval_is_inside(width: float, certain: bool) -> None:
    (choice,) = recommend([cell("fp32", 1, 0), cell("bf16", 2, 0.05, width=width)], 0.1)
    assert choice.setting == setting("bf16")
    assert choice.certain is certain


def test_batches_compete_among_themselves() -> None:
    cells = [cell("fp32", 1, 0), cell("fp32", 3, 0, batch_size=4), cell("bf16", 5, 1, batch_size=4)]
    assert recommend(cells, 0.1) == (
        Choice(mode="verdict", setting=setting("fp32"), certain=True),
        Choice(mode="throughput", setting=setting("fp32", 4), certain=True),
    )


def test_cells_without_numbers_are_no_choice() -> None:
    broken = SweepCell(setting=setting("bf16"), status="failed", reason="no", ap={}, delta={})
    assert recommend([broken], 0.1) == ()
