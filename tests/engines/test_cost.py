"""Fused convolutions count as many operations as the convolutions they fuse."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from harness.engines.cost import fused_convolutions
from harness.nn.convolution import Conv, Deconv


def counted(module: Conv | Deconv, **given: object) -> int:
    """Operations of one call on (2, 8, 10, 12)."""
    with torch.inference_mode():
        counter = FlopCounterMode(display=False, custom_mapping=fused_convolutions())
        with counter:
            module(torch.zeros(2, 8, 10, 12), **given)
    return counter.get_total_flops()


def test_a_convolution_counts_the_same_in_one_pass() -> None:
    by_hand = 2 * (2 * 16 * 10 * 12) * (8 * 3 * 3)  # multiply and add, for every number, every tap
    for bias in (False, True):
        for given in ({}, {"relu": True}, {"add": torch.ones(2, 16, 10, 12)}):
            conv = Conv(8, 16, 3, padding=1, bias=bias)
            assert counted(conv, **given) == by_hand
            conv.one_pass = True
            assert counted(conv, **given) == by_hand


def test_a_transposed_convolution_counts_the_same_in_one_pass() -> None:
    deconv = Deconv(8, 16, 2, stride=2)
    by_hand = 2 * (2 * 16 * 20 * 24) * 8  # each number has one tap of the 2 × 2
    assert counted(deconv) == by_hand
    deconv.one_pass = True
    assert counted(deconv) == by_hand
