"""The network in slots on a GPU that is not there: shapes, data types and devices alone.

torch's fake tensors have a device and no numbers, so all of the path but the kernels themselves
runs as on the second of two cards. Each operator is looked at: one that takes tensors of two
devices, waits for the GPU or makes a constant on the host would break the path there.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from harness.core.architecture import Architecture
from harness.core.engine import Precision
from harness.engines.devices import DTYPES
from harness.engines.native import own_memory_format
from harness.nn.boxes import KEPT_SHAPES, Anchored
from harness.nn.convolution import Conv, Deconv, GpuPasses
from harness.nn.rcnn import RCNN, prepare_for_inference
from harness.nn.slots import Capacity, Frame, SlotNetwork
from tests.golden.families import narrow

#: Not the first: what leaves the device open would be there.
CARD = torch.device("cuda", 1)

#: Operators after which the host has a number of the device, or needs one.
WAITS = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select", "unique")


def finish(out: Tensor, bias: Tensor | None, add: Tensor | None, relu: bool) -> Tensor:
    """Check what the kernel needs."""
    last = out.is_contiguous(memory_format=torch.channels_last)
    assert last or out.is_contiguous()
    assert bias is None or (bias.dtype, bias.device) == (out.dtype, CARD)
    assert add is None or (add.dtype, add.shape, add.device) == (out.dtype, out.shape, CARD)
    return out


class Operators:
    """Implements ``nn.slots.SlotOperators`` by results of the right shape; checks what it gets."""

    def kept_in_segments(
        self, boxes: Tensor, valid: Tensor, starts: Tensor, longest: int, threshold: float
    ) -> Tensor:
        assert 0 < longest <= boxes.shape[1]
        assert 0 < threshold < 1
        require(torch.float32, boxes)
        require(torch.bool, valid)
        require(torch.int32, starts)
        return torch.zeros_like(valid)

    def first_survivors(
        self, boxes: Tensor, counts: Tensor, threshold: float, limit: int
    ) -> tuple[Tensor, Tensor]:
        assert 0 < threshold < 1
        require(torch.float32, boxes)
        require(torch.int32, counts)
        rows = counts.new_zeros((len(boxes), limit), dtype=torch.int64)
        return rows, torch.zeros_like(counts)

    def pooled_from_levels(
        self, maps: list[Tensor], boxes: Tensor, levels: Tensor, side: int, dtype: torch.dtype
    ) -> Tensor:
        for one in maps:
            require(dtype, one)
            assert one.permute(0, 2, 3, 1).is_contiguous()
        require(torch.float32, boxes)
        require(torch.int64, levels)
        shape = (boxes.shape[0] * boxes.shape[1], side, side, maps[0].shape[1])
        return boxes.new_empty(shape, dtype=dtype).permute(0, 3, 1, 2)

    def outlines(
        self,
        soft: Tensor,
        boxes: Tensor,
        kept: Tensor,
        sizes: Tensor,
        threshold: float,
        capacity: int,
    ) -> tuple[Tensor, Tensor]:
        assert 0 < threshold < 1
        assert len(soft) == boxes.shape[0] * boxes.shape[1]
        require(torch.float32, soft, boxes)
        require(torch.bool, kept)
        require(torch.int32, sizes)
        counts = sizes.new_zeros(boxes.shape[:2])
        return sizes.new_zeros((len(boxes), capacity)), counts

    def characters(
        self, places: Tensor, counts: Tensor, kept: Tensor, sizes: Tensor, capacity: int
    ) -> tuple[Tensor, Tensor]:
        require(torch.int32, places, counts, sizes)
        require(torch.bool, kept)
        text = places.new_zeros((len(places), capacity), dtype=torch.uint8)
        return text, torch.zeros_like(counts)


def require(dtype: torch.dtype, *tensors: Tensor) -> None:
    for one in tensors:
        assert (one.dtype, one.device) == (dtype, CARD)


class Watch(TorchDispatchMode):
    """Notes operators that wait, copy between devices, or mix them."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.found: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        answer = func(*args, **(kwargs or {}))
        given = [one for one in tree_leaves((args, kwargs, answer)) if isinstance(one, Tensor)]
        places = {one.device for one in given}
        name = func.name().partition("::")[2].partition(".")[0]
        self.count += 1
        if name in WAITS or places - {CARD}:
            self.found.append(f"{name} of {', '.join(sorted(map(str, places)))}")
        return answer


def on_card(architecture: Architecture, precision: Precision) -> RCNN:
    """A network as the engine has it there; `native.open_native`."""
    network = RCNN(architecture).eval().requires_grad_(False)
    prepare_for_inference(network, CARD)
    last = own_memory_format(CARD, precision) == "channels_last"
    layout = torch.channels_last if last else torch.contiguous_format
    precise = {
        id(one)
        for part in network.precise_parts
        for one in (*part.parameters(), *part.buffers())
        if one.is_floating_point()
    }
    passes = GpuPasses(finish, in_one_call=False, by_product=precision == "fp32")
    for module in network.modules():
        if isinstance(module, (Conv, Deconv)):
            module.gpu_passes = passes
        # One by one: ``Module.to`` cannot exchange fake tensors.
        for store in (module._parameters, module._buffers):
            for name, one in store.items():
                if one is None:
                    continue
                moved = one.detach().to(CARD, DTYPES[precision] if id(one) in precise else None)
                moved = moved.contiguous(memory_format=layout) if moved.dim() == 4 else moved
                store[name] = (
                    torch.nn.Parameter(moved, False) if store is module._parameters else moved
                )
    return network


@pytest.mark.parametrize("name", ["mask_rcnn_R_50_FPN_GN", "mask_rcnn_regnetx_4gf_LSJ"])
@pytest.mark.parametrize("precision", list(DTYPES))
def test_an_image_is_computed_on_its_card_without_a_wait(name: str, precision: Precision) -> None:
    architecture = narrow(name)
    with FakeTensorMode(), torch.inference_mode(), torch.random.fork_rng(devices=[]):
        slots = SlotNetwork(on_card(architecture, precision), Operators(), Capacity())
        slots.proposals._segments_of = segments  # type: ignore[method-assign]
        pixels = torch.zeros((2, 192, 256, 3), dtype=torch.uint8, device=CARD)
        frame = torch.zeros((2, 8), device=CARD)
        with Watch() as watch:
            answer = slots(pixels, Frame(frame[:, :2], frame[:, 2:4].int(), frame[:, 4:]))
        assert (answer.dtype, answer.device) == (torch.int32, CARD)
        assert answer.shape == (2, slots.layout.width)
    assert watch.count > 100
    assert watch.found == []


def segments(counts: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """What is made once, on the host, when a shape comes the first time."""
    assert device == CARD
    starts = torch.zeros(len(counts) + 1, dtype=torch.int32, device=CARD)
    return starts, torch.zeros((1, sum(counts)), dtype=torch.int64, device=CARD)


def test_anchors_of_a_shape_are_made_once_on_a_card() -> None:
    with FakeTensorMode():
        cells = [torch.zeros((3, 4), device=CARD), torch.zeros((3, 4), device=CARD)]
        part = Anchored(cells, (4, 8))

        def anchors(side: int) -> list[Tensor]:
            pyramid = [torch.zeros((1, 8, one, one), device=CARD) for one in (2 * side, side)]
            return part.anchors(pyramid)

        with torch.inference_mode():
            first = anchors(8)
        assert [(tuple(one.shape), one.device) for one in first] == [
            ((768, 4), CARD),
            ((192, 4), CARD),
        ]
        assert not any(one.is_inference() for one in first)
        assert list(map(id, anchors(8))) == list(map(id, first))
        assert list(map(id, anchors(9))) != list(map(id, first))
        for side in range(10, 10 + KEPT_SHAPES - 2):
            anchors(side)
        assert list(map(id, anchors(8))) == list(map(id, first))  # there is room for all
        for side in range(40, 40 + KEPT_SHAPES):
            anchors(side)
        assert len(part._kept) == KEPT_SHAPES
        assert list(map(id, anchors(8))) != list(map(id, first))


def test_anchors_made_while_a_graph_is_captured_are_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with FakeTensorMode():
        part = Anchored([torch.zeros((3, 4), device=CARD)], (4,))
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
        assert len(part.anchors([torch.zeros((1, 8, 2, 2), device=CARD)])[0]) == 12
        assert not part._kept


def test_a_cpu_keeps_no_anchors() -> None:
    part = Anchored([torch.tensor([[-2.0, -2.0, 2.0, 2.0]])], (4,))
    (first,), (second,) = (part.anchors([torch.zeros(1, 8, 2, 2)]) for _ in range(2))
    assert first is not second
    assert torch.equal(first, second)
    assert not part._kept
