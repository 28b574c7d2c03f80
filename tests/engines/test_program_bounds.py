"""What a forged graph may not ask for, and that a real one is never refused."""

from __future__ import annotations

import math
from operator import attrgetter
from typing import Any

import pytest
import torch
import torchvision  # noqa: F401  registers its operators

from harness.engines.program_bounds import (
    MOST_ELEMENTS,
    require_bounded,
    require_bounded_result,
    require_held,
    require_number,
)

SMALL = torch.zeros(4, 4)
TALL, WIDE = torch.zeros(1 << 15, 1), torch.zeros(1, 1 << 15)
MAP = torch.zeros(1, 3, 8, 8)
HUGE = 1 << 40


@pytest.mark.parametrize(
    ("operator", "arguments"),
    [
        ("zeros.default", ([HUGE],)),
        ("zeros.default", ([1 << 20, 1 << 20],)),
        ("full.default", ([HUGE], 1.0)),
        ("empty.memory_format", ([1 << 62, 1 << 62],)),
        ("new_full.default", (SMALL, [HUGE], 0)),
        ("arange.default", (HUGE,)),
        ("arange.start_step", (0, 1, 1e-12)),
        ("arange.start_step", (0, 1, 0)),
        ("linspace.default", (0, 1, HUGE)),
        ("repeat.default", (SMALL, [1 << 20, 1 << 20])),
        ("repeat_interleave.self_int", (SMALL, HUGE, 0)),
        ("one_hot.default", (torch.tensor([1, 2]), HUGE)),
        ("one_hot.default", (torch.tensor([1, HUGE]),)),
        ("pad.default", (SMALL, [0, HUGE, 0, HUGE])),
        ("upsample_bilinear2d.vec", (MAP, [HUGE, HUGE], False, None)),
        ("upsample_nearest2d.vec", (MAP, None, [1e6, 1e6])),
        ("cat.default", ([torch.zeros(1 << 15)] * (1 << 14),)),
        ("conv2d.default", (MAP, SMALL, None, [1, 1], [HUGE, 0])),
        ("max_pool2d.default", (MAP, [2, 2], [2, 2], [1 << 20, 0])),
        ("roi_align.default", (MAP, SMALL, 1.0, 1 << 20, 7, 0, True)),
        ("add.Tensor", (TALL, WIDE)),
        ("maximum.default", (TALL, WIDE)),
        ("where.self", (TALL > 0, WIDE, SMALL[:1, :1])),
        ("matmul.default", (TALL, WIDE)),
        ("linear.default", (TALL, TALL)),
    ],
)
def test_what_cannot_be_held_is_refused_before_it_is_made(
    operator: str, arguments: tuple[Any, ...]
) -> None:
    with pytest.raises(ValueError, match="at most"):
        require_bounded(f"torch.ops.aten.{operator}", arguments, {})


@pytest.mark.parametrize(
    ("operator", "arguments", "named"),
    [
        ("zeros.default", ([1000, 81, 28, 28],), {}),
        ("conv2d.default", (MAP, SMALL, None, [1, 1], [1, 1], [1, 1], 960), {}),
        ("conv2d.default", (MAP, SMALL), {"groups": 960}),
        ("pad.default", (torch.zeros(3, 800, 1333), [0, 19, 0, 0]), {}),
        ("index.Tensor", (TALL, [torch.zeros(1 << 15, dtype=torch.int64)]), {}),
        ("index_select.default", (TALL, 0, torch.zeros(1 << 15, dtype=torch.int64)), {}),
        ("upsample_bilinear2d.vec", (MAP, [800, 1333], False, None), {}),
        ("one_hot.default", (torch.tensor([3, 79]),), {}),
        ("add.Tensor", (torch.zeros(1 << 15, 4), torch.zeros(1 << 15, 1)), {}),
    ],
)
def test_what_networks_do_is_not(
    operator: str, arguments: tuple[Any, ...], named: dict[str, Any]
) -> None:
    require_bounded(f"torch.ops.aten.{operator}", arguments, named)


IMAGE, MANY = torch.zeros(1, 1, 200, 300), torch.zeros(1 << 15, 1, 1, 1)
OFFSET = torch.zeros(1, 2, 200, 300)
PICKS = torch.zeros(1 << 15, dtype=torch.int64)
STEPS = (1, 1, 0, 0, 1, 1, 1, 1, True)


@pytest.mark.parametrize(
    ("operator", "arguments"),
    [
        ("aten.conv2d.default", (IMAGE, MANY)),
        ("aten.conv_transpose2d.input", (IMAGE, torch.zeros(1, 1 << 15, 1, 1))),
        ("aten.adaptive_avg_pool2d.default", (torch.zeros(1, 1 << 14, 1, 1), [200, 200])),
        ("torchvision.roi_align.default", (IMAGE, torch.zeros(1 << 13, 5), 1.0, 200, 200, 1, True)),
        ("aten.index_select.default", (WIDE, 0, PICKS)),
        ("aten.index.Tensor", (WIDE, [PICKS])),
        ("torchvision.deform_conv2d.default", (IMAGE, MANY, OFFSET, IMAGE, MANY.ravel(), *STEPS)),
    ],
)
def test_a_result_that_cannot_be_held_is_refused_before_it_is_computed(
    operator: str, arguments: tuple[Any, ...]
) -> None:
    call = attrgetter(operator)(torch.ops)
    require_bounded(f"torch.ops.{operator}", arguments, {})
    with pytest.raises(ValueError, match="at most"):
        require_bounded_result(call, f"torch.ops.{operator}", arguments, {})


@pytest.mark.parametrize(
    ("operator", "arguments", "named"),
    [
        (
            "aten.conv2d.default",
            (torch.zeros(1, 3, 800, 1344), torch.zeros(64, 3, 7, 7), None, [2, 2], [3, 3]),
            {},
        ),
        ("aten.conv2d.default", (IMAGE, MANY[:4]), {"padding": [0, 0]}),
        ("aten.conv2d.default", (IMAGE, SMALL), {}),  # torch itself refuses it
        ("aten.relu.default", (IMAGE,), {}),
        ("aten.index.Tensor", (TALL, [PICKS]), {}),
        ("aten.index.Tensor", (TALL, [TALL[:, 0] > 0]), {}),
        ("aten.index.Tensor", (MAP, [None, PICKS[:3]]), {}),
        ("torchvision.roi_align.default", (MAP, torch.zeros(1000, 5), 0.25, 14, 14, 0, True), {}),
    ],
)
def test_results_of_networks_are_not(
    operator: str, arguments: tuple[Any, ...], named: dict[str, Any]
) -> None:
    call = attrgetter(operator)(torch.ops)
    require_bounded_result(call, f"torch.ops.{operator}", arguments, named)


def test_a_tensor_that_repeats_itself_counts_whole() -> None:
    require_held([SMALL, None, 3])
    with pytest.raises(ValueError, match="at most"):
        require_held(torch.zeros(1).expand(MOST_ELEMENTS + 1))


@pytest.mark.parametrize("value", [1 << 63, -(1 << 64), math.inf, math.nan, [1], SMALL, "a"])
def test_a_size_is_a_number_of_64_bits(value: Any) -> None:
    with pytest.raises(ValueError, match="64-bit"):
        require_number(value)


@pytest.mark.parametrize("value", [0, -5, 2.5, True, (1 << 62)])
def test_other_sizes_pass(value: Any) -> None:
    require_number(value)
