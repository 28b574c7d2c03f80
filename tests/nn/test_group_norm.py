"""GroupNorm of a map with the channels last is no farther from float64 than of a contiguous one."""

from __future__ import annotations

import pytest
import torch

from harness.nn.normed import GROUPS, GroupNorm


@torch.inference_mode()
@pytest.mark.parametrize("shape", [(1, 64, 200, 304), (2, 32, 40, 30)])
def test_both_layouts_are_as_near_to_float64(shape: tuple[int, int, int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(shape, generator=generator) * 3 + 2
    norm = GroupNorm(GROUPS, shape[1])
    norm.weight.uniform_(0.5, 1.5, generator=generator)
    norm.bias.uniform_(-1, 1, generator=generator)
    plain = torch.nn.GroupNorm(GROUPS, shape[1])
    plain.load_state_dict(norm.state_dict())
    near = norm(x)
    last = norm(x.contiguous(memory_format=torch.channels_last))
    exact = plain.double()(x.double())
    assert torch.equal(near, plain.float()(x)), "a contiguous map is torch's own"
    off = [float((one.double() - exact).square().mean().sqrt()) for one in (near, last)]
    assert off[1] <= 3 * off[0] + 1e-7


def test_where_gradients_are_wanted_it_is_torchs() -> None:
    x = torch.randn((1, 32, 5, 4)).contiguous(memory_format=torch.channels_last)
    norm, plain = GroupNorm(GROUPS, 32), torch.nn.GroupNorm(GROUPS, 32)
    assert torch.equal(norm(x), plain(x))
    assert norm(x).requires_grad


@torch.inference_mode()
def test_maps_with_the_channels_last_are_normalised_where_they_lie() -> None:
    """They are the largest of a network: another of their size would be its peak of memory."""
    norm = GroupNorm(GROUPS, 96)
    x = torch.randn((2, 96, 8, 6)).contiguous(memory_format=torch.channels_last)
    kept = x.clone()
    assert norm(x).data_ptr() == x.data_ptr()
    torch.testing.assert_close(x, norm(kept.contiguous()), rtol=1e-5, atol=1e-5)
    contiguous = kept.contiguous()
    assert norm(contiguous).data_ptr() != contiguous.data_ptr()
