from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed: pip install triton")

from harness.nn.kernels.epilogue import finish


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("biased", "added", "relu"), [(1, 1, 1), (1, 0, 0), (0, 1, 1), (0, 0, 1)])
def test_one_pass_gives_the_bits_of_three(
    layout: torch.memory_format, biased: int, added: int, relu: int, device: torch.device
) -> None:
    drawn = torch.Generator().manual_seed(6)
    out, add = torch.randn((2, 2, 5, 7, 9), generator=drawn).to(device)
    out = out.contiguous(memory_format=layout)
    out[0, 0, 0, 0] = torch.nan
    bias = torch.randn(5, generator=drawn).to(device)
    expected = out.clone()
    if biased:
        expected = expected + bias[:, None, None]
    if added:
        expected = expected + add
    if relu:
        expected = torch.relu(expected)
    found = finish(out, bias if biased else None, add if added else None, bool(relu))
    assert found is out
    assert bool(found[0, 0, 0, 0].isnan())
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def test_places_past_32_bits_are_counted_in_64(
    device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = torch.Generator().manual_seed(6)
    out, add = torch.randn((2, 2, 5, 7, 9), generator=drawn).to(device)
    expected = finish(out.clone(), out[0, :, 0, 0].clone(), add, relu=True)
    monkeypatch.setattr("harness.nn.kernels.epilogue.INT32_MAX", 0)
    found = finish(out.clone(), out[0, :, 0, 0].clone(), add, relu=True)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_half_precision_is_rounded_once(device: torch.device) -> None:
    out = torch.tensor([1.0]).half().view(1, 1, 1, 1).to(device)
    # 1 + 2⁻¹¹ is a tie between two numbers of fp16; the sum of both parts is above it.
    bias = torch.tensor([2.0**-11], dtype=torch.float16, device=device)
    add = torch.full_like(out, 2.0**-12)
    assert float(finish(out, bias, add, relu=True)) == 1.0 + 2.0**-10
