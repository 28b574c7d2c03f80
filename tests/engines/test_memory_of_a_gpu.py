"""A GPU's memory runs out: graphs are dropped, a batch is split, or one clear error says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.core.errors import RunFailedError
from harness.engines.native import NativeEngine, PreparedImage, open_native
from harness.engines.slot_path import SlotPath
from harness.files.failures import lacks_gpu_memory
from harness.measure.timing import NULL_STOPWATCH
from harness.nn.slots import Frame, layout_of
from harness.zoo.architectures import tiny
from tests.conftest import Seeded
from tests.engines.pretend_gpu import Gpu
from tests.engines.pretend_gpu import gpu as gpu
from tests.golden.cases import pictures
from tests.nn.plain_operators import PlainOperators

LACKING = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")

#: What others than torch's allocator say.
OTHERS = (
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"),
    RuntimeError("Triton Error [CUDA]: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
)


class Network:
    """Finds one box in each image, that of its frame; fails where it is told to."""

    layout = layout_of(detections=2, characters=0)

    def __init__(self, fails: Callable[[Tensor], Exception | None]) -> None:
        self.fails = fails
        self.batches: list[int] = []

    def __call__(self, pixels: Tensor, frame: Frame) -> Tensor:
        """Return the answer for a batch."""
        self.batches.append(len(pixels))
        if (error := self.fails(pixels)) is not None:
            raise error
        row = torch.zeros((len(pixels), self.layout.width), dtype=torch.int32)
        row[:, 2] = 1  # finite
        row[:, self.layout.kept.start] = 1
        box = torch.cat((torch.zeros_like(frame.resized), frame.resized.flip(1)), dim=1)
        row[:, self.layout.boxes.start : self.layout.boxes.start + 4] = box.view(torch.int32)
        return row


def opened(
    seeded: Seeded, gpu: Gpu, fails: Callable[[Tensor], Exception | None], graphs: bool = True
) -> tuple[NativeEngine, Network]:
    plain = replace(tiny(), has_masks=False)
    engine = open_native(architecture=plain, weights=seeded(plain), device="cpu", threads=1)
    slots = SlotPath(
        engine.network, PlainOperators(), engine.device, graphs=graphs, notice=engine.notes.append
    )
    network = Network(fails)
    slots.network = network  # type: ignore[assignment]
    engine.slots = slots
    return engine, network


def images(count: int) -> list[PreparedImage]:
    """Images of one shape."""
    return [
        PreparedImage(number, np.zeros((40, 50 + number, 3), dtype=np.uint8), 40, 50 + number)
        for number in range(count)
    ]


def require_each_once(engine: NativeEngine, given: list[PreparedImage]) -> None:
    found = engine.infer(given, NULL_STOPWATCH)
    assert [one.image_id for one in found] == [one.image_id for one in given]
    assert [one.boxes_xyxy_px.tolist() for one in found] == [
        [[0.0, 0.0, float(one.width_px), float(one.height_px)]] for one in given
    ]


@pytest.mark.parametrize("error", [LACKING, *OTHERS])
def test_memory_that_runs_out_is_known_by_whatever_ran_out_of_it(error: Exception) -> None:
    assert lacks_gpu_memory(error)


def test_another_error_is_none_of_memory(seeded: Seeded, gpu: Gpu) -> None:
    fault = RuntimeError("CUDA error: an illegal memory access was encountered")
    engine, network = opened(seeded, gpu, lambda _: fault)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        engine.infer(images(2), NULL_STOPWATCH)
    assert network.batches == [2]
    assert engine.notes == []


GIVEN_UP = "CUDA graphs were given up, kernels are launched one by one: "


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        *((error, "out of memory") for error in (LACKING, OTHERS[0])),
        (RuntimeError("CUDA error: operation not permitted\nmore"), "CUDA error: operation not"),
    ],
)
@pytest.mark.parametrize("where", ["recorded", "made"])
def test_a_graph_that_cannot_be_made_costs_a_line_and_no_image(
    seeded: Seeded, gpu: Gpu, error: Exception, reason: str, where: str
) -> None:
    gpu.ending = error if where == "made" else None
    lacking = error if where == "recorded" else None
    engine, network = opened(seeded, gpu, lambda _: lacking if gpu.capturing else None)
    for _ in range(4):
        require_each_once(engine, images(1))
    (note,) = engine.notes
    assert note.startswith(GIVEN_UP + reason)
    assert note.endswith(" while one was made")
    assert "\n" not in note
    assert engine.slots is not None
    assert (engine.slots.graph_count, gpu.capturing) == (0, False)
    assert len(network.batches) == 5  # four times an image, and once for the graph


def test_graphs_are_dropped_before_an_image_is(seeded: Seeded, gpu: Gpu) -> None:
    engine, _ = opened(
        seeded, gpu, lambda pixels: LACKING if pixels.shape[1] > 64 and gpu.emptied == 0 else None
    )
    slots = engine.slots
    assert slots is not None
    for _ in range(2):
        engine.begin(images(1))
    assert slots.graph_count == gpu.made == 1
    large = PreparedImage(9, np.zeros((70, 70, 3), dtype=np.uint8), 70, 70)
    require_each_once(engine, [large])
    assert slots.graph_count == 0
    assert engine.notes == [GIVEN_UP + "out of memory"]
    require_each_once(engine, images(1))
    assert gpu.made == 1


@pytest.mark.parametrize("error", [LACKING, OTHERS[0]])
def test_a_batch_is_split_until_it_fits(seeded: Seeded, gpu: Gpu, error: Exception) -> None:
    engine, network = opened(
        seeded, gpu, lambda pixels: error if len(pixels) > 2 else None, graphs=False
    )
    require_each_once(engine, images(7))
    assert network.batches == [7, 3, 1, 2, 4, 2, 2]
    assert engine.notes == [
        f"a batch of {count} did not fit into GPU memory and was split" for count in (7, 3, 4)
    ]


def test_an_image_that_does_not_fit_is_named(seeded: Seeded, gpu: Gpu) -> None:
    engine, _ = opened(
        seeded, gpu, lambda pixels: LACKING if pixels.shape[2] > 64 else None, graphs=False
    )
    wide = PreparedImage(9, np.zeros((40, 70, 3), dtype=np.uint8), 40, 70)
    with pytest.raises(RunFailedError, match="image 9: 70 × 40 px do not fit") as caught:
        engine.infer([wide], NULL_STOPWATCH)
    assert "lower --short-edge" in str(caught.value.hint)


@pytest.mark.parametrize("error", [LACKING, OTHERS[0]])
def test_the_eager_path_splits_a_batch_and_finds_the_same(
    seeded: Seeded, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    engine = open_native(architecture=tiny(), weights=seeded(tiny()), device="cpu", threads=1)
    given = [engine.prepare(one, NULL_STOPWATCH) for one in pictures()]
    expected = engine.infer(given, NULL_STOPWATCH)
    plain = engine.network.backbone.forward

    def forward(pixels: Tensor) -> list[Tensor]:
        if len(pixels) > 1:
            raise error
        return plain(pixels)

    monkeypatch.setattr(engine.network.backbone, "forward", forward)
    found = engine.infer(given, NULL_STOPWATCH)
    assert [one.masks for one in found] == [one.masks for one in expected]
    assert [len(one) > 0 for one in found] == [True] * len(given)
    assert engine.notes == [f"a batch of {len(given)} did not fit into GPU memory and was split"]
