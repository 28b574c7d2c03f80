"""A sum and a ReLU in one pass with the convolution give what they give as steps of their own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harness.nn import convolution
from harness.nn.convolution import BF16_IN_ONE_PASS, Conv, Deconv, GpuPasses

#: Of the largest number: one unit in its last place, for sums are rounded once or twice.
ROUNDING = {torch.float32: 2**-23, torch.bfloat16: 2**-7}
DTYPES = (
    torch.float32,
    pytest.param(
        torch.bfloat16,
        marks=pytest.mark.skipif(
            not BF16_IN_ONE_PASS, reason="oneDNN has no bf16 convolution for this processor"
        ),
    ),
)


def numbers(*shape: int, seed: int, dtype: torch.dtype) -> Tensor:
    """Normal numbers, channels last."""
    made = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return made.to(dtype).contiguous(memory_format=torch.channels_last)


def filled(module: Conv | Deconv, dtype: torch.dtype) -> Conv | Deconv:
    """The module with weights that keep the size of what goes through."""
    generator = torch.Generator().manual_seed(3)
    for parameter in module.parameters():
        parameter.requires_grad_(False).normal_(0, 0.05, generator=generator)
    return module.to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (1, 2), (3, 1), (7, 2)])
def test_convolution(kernel: int, stride: int, added: bool, relu: bool, dtype: torch.dtype) -> None:
    conv = filled(Conv(16, 24, kernel, stride, kernel // 2), dtype)
    x = numbers(2, 16, 17, 23, seed=1, dtype=dtype)
    steps = conv.convolve(x)
    add = numbers(*steps.shape, seed=2, dtype=dtype) if added else None
    steps = conv(x, add=add, relu=relu)
    conv.one_pass = True
    found = conv(x, add=add, relu=relu)
    assert (found is add) == added
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert float((found - steps).abs().max() / steps.abs().max()) <= ROUNDING[dtype]
    assert bool((found < -1e-20).any()) != relu


@pytest.mark.parametrize("dtype", DTYPES)
def test_transposed_convolution(dtype: torch.dtype) -> None:
    deconv = filled(Deconv(16, 24, 2, stride=2), dtype)
    x = numbers(3, 16, 14, 14, seed=1, dtype=dtype)
    steps = deconv(x)
    deconv.one_pass = True
    found = deconv(x)
    assert found.shape == (3, 24, 28, 28)
    assert float((found - steps).abs().max() / steps.abs().max()) <= ROUNDING[dtype]
    assert -1e-20 < float(found.min()) <= 0


def test_bf16_takes_separate_steps_on_a_processor_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(convolution, "BF16_IN_ONE_PASS", False)
    conv, deconv = (
        filled(Conv(16, 24, 3), torch.bfloat16),
        filled(Deconv(16, 24, 2), torch.bfloat16),
    )
    x = numbers(2, 16, 9, 9, seed=1, dtype=torch.bfloat16)
    add = numbers(2, 24, 7, 7, seed=2, dtype=torch.bfloat16)
    steps = conv(x, add=add.clone(), relu=True), deconv(x)
    conv.one_pass = deconv.one_pass = True
    assert torch.equal(conv(x, add=add, relu=True), steps[0])
    assert torch.equal(deconv(x), steps[1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_number_that_is_none_stays_one(dtype: torch.dtype) -> None:
    """Else an overflow would end as an image without detections."""
    conv = filled(Conv(16, 24, 3, padding=1), dtype)
    deconv = filled(Deconv(16, 24, 2, stride=2), dtype)
    x = numbers(1, 16, 9, 9, seed=1, dtype=dtype)
    x[0, 3, 4, 4] = float("nan")
    for module, given in (
        (conv, {"relu": True}),
        (conv, {"relu": True, "add": numbers(1, 24, 9, 9, seed=2, dtype=dtype)}),
        (deconv, {}),
    ):
        module.one_pass = True
        assert module(x, **given).isnan().any()


def test_no_regions_give_nothing() -> None:
    conv, deconv = Conv(4, 6, 3, padding=1), Deconv(4, 6, 2, stride=2)
    for module, shape in ((conv, (0, 6, 7, 7)), (deconv, (0, 6, 14, 14))):
        module.one_pass = True
        with torch.inference_mode():
            assert module(torch.zeros(0, 4, 7, 7)).shape == shape


def three_steps(out: Tensor, bias: Tensor | None, add: Tensor | None, relu: bool) -> Tensor:
    """What the kernel after a convolution computes, by operators of torch."""
    out = out if bias is None else out + bias[:, None, None]
    out = out if add is None else out + add
    return torch.relu(out) if relu else out


@pytest.mark.parametrize("by_product", [False, True])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (1, 2), (3, 2)])
def test_the_way_of_a_gpu_computes_the_same(by_product: bool, kernel: int, stride: int) -> None:
    torch.manual_seed(3)
    conv = Conv(8, 6, kernel, stride=stride, padding=kernel // 2)
    x = torch.randn(2, 8, 9, 11)
    add = torch.randn(2, 6, 9, 11)[:, :, ::stride, ::stride].contiguous()
    with torch.inference_mode():
        for given in ({}, {"relu": True}, {"add": add}, {"add": add, "relu": True}):
            kept = {name: torch.clone(one) if name == "add" else one for name, one in given.items()}
            conv.gpu_passes = None
            expected = conv(x, **kept)
            conv.gpu_passes = GpuPasses(three_steps, in_one_call=False, by_product=by_product)
            torch.testing.assert_close(conv(x, **given), expected)


def test_the_way_of_a_gpu_transposes_the_same() -> None:
    torch.manual_seed(3)
    deconv, x = Deconv(8, 6, 2, stride=2), torch.randn(2, 8, 5, 7)
    with torch.inference_mode():
        expected = deconv(x)
        deconv.gpu_passes = GpuPasses(three_steps, in_one_call=False, by_product=True)
        torch.testing.assert_close(deconv(x), expected)
