"""What is charged to which stage, and what follows from it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.profile import (
    Peak,
    StageCost,
    StageMeter,
    copy_share,
    least_seconds,
    product_share,
    whole,
)

PEAK = Peak(flops_per_s=100e9, bytes_per_s=10e9, product="a product", copy="1 MiB", repeats=1)


def cost(seconds: float, flops: float = 0.0, moved_bytes: float = 0.0) -> StageCost:
    return StageCost(
        stage="one", seconds=seconds, flops=flops, moved_bytes=moved_bytes, parameters=7
    )


def test_a_stage_is_not_charged_with_the_stages_inside_it() -> None:
    readings = iter([0, 1, 3, 6, 10, 15])
    meter = StageMeter(lambda: next(readings), lambda: None)
    with meter.phase("outer"):  # 0
        with meter.phase("inner"):  # 1
            pass  # 3
        with meter.phase("inner"):  # 6
            pass  # 10
    assert meter.amounts == {"outer": 1 + 3 + 5, "inner": 2 + 4}


def test_time_between_outermost_stages_is_nobodys() -> None:
    readings = iter([0, 1, 100, 102])
    meter = StageMeter(lambda: next(readings), lambda: None)
    for name in ("one", "two"):
        with meter.phase(name):
            pass
    assert meter.amounts == {"one": 1, "two": 2}


def test_a_stage_that_fails_is_charged_and_closed() -> None:
    ticks = itertools.count()
    meter = StageMeter(lambda: float(next(ticks)), lambda: None)
    with meter.phase("outer"):
        with pytest.raises(ValueError), meter.phase("inner"):
            raise ValueError
        with meter.phase("next"):
            pass
    assert meter.amounts == {"outer": 3, "inner": 1, "next": 1}


def test_the_device_is_synchronized_before_every_reading() -> None:
    said: list[str] = []
    meter = StageMeter(lambda: said.append("read") or 0.0, lambda: said.append("synchronize"))
    with meter.phase("one"), meter.phase("two"):
        pass
    assert said == ["synchronize", "read"] * 4


@given(st.recursive(st.just([]), lambda inner: st.lists(inner, max_size=3), max_leaves=12))
def test_the_stages_add_up_to_the_whole(tree: list[list]) -> None:
    readings = itertools.accumulate(itertools.count())
    meter = StageMeter(lambda: float(next(readings)), lambda: None)

    def enter(node: list[list], depth: int) -> None:
        with meter.phase(f"stage {depth}"):
            for child in node:
                enter(child, depth + 1)

    enter(tree, 0)
    passed = float(next(readings)) - 0.0
    read = 2 * sum(1 for _ in nodes(tree))  # one at each end of every stage
    assert sum(meter.amounts.values()) == passed - read


def nodes(tree: list[list]) -> list[list]:
    return [tree, *(node for child in tree for node in nodes(child))]


def test_shares_of_the_peak() -> None:
    both = cost(2.0, flops=50e9, moved_bytes=4e9)
    assert product_share(both, PEAK) == pytest.approx(0.25)
    assert copy_share(both, PEAK) == pytest.approx(0.2)
    assert product_share(cost(2.0, moved_bytes=1.0), PEAK) is None
    assert copy_share(cost(2.0, flops=1.0), PEAK) is None
    assert product_share(cost(0.0, flops=1.0), PEAK) is None  # a clock too coarse to see it


def test_the_slower_of_arithmetic_and_copying_is_the_limit() -> None:
    assert least_seconds(cost(1.0, flops=20e9, moved_bytes=1e9), PEAK) == pytest.approx(0.2)
    assert least_seconds(cost(1.0, flops=20e9, moved_bytes=5e9), PEAK) == pytest.approx(0.5)
    assert least_seconds(cost(1.0), PEAK) == 0.0


def test_the_whole_is_the_sum() -> None:
    total = whole((cost(1.0, flops=3.0), cost(2.0, moved_bytes=5.0)))
    assert (total.seconds, total.flops, total.moved_bytes, total.parameters) == (3.0, 3.0, 5.0, 14)
