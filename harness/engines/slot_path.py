"""The native network in slots on a GPU: batches begun one after the other, finished when done.

Between the upload of a batch and the event at its end the host waits for nothing. Pixels go up
from pinned memory on a stream of their own, the answer comes down in one copy, and what is left,
encoding, can run in other threads while the next batch computes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from harness.core.architecture import Architecture
from harness.core.detections import Detections
from harness.core.engine import EngineInfo
from harness.engines.cuda_graphs import Graphs
from harness.engines.devices import emulation
from harness.engines.network_outputs import (
    FRAME_NUMBERS,
    Overflow,
    Resized,
    canvas_of,
    detections_of,
    fill,
)
from harness.files.failures import lacks_gpu_memory
from harness.nn.convolution import Conv, Deconv, GpuPasses, cudnn_keeps_nan
from harness.nn.rcnn import RCNN
from harness.nn.slots import Capacity, Frame, SlotNetwork, SlotOperators, lacking_in_slots


def prepare_slot_path(architecture: Architecture, otherwise: bool) -> None:
    """Do what needs no network and takes a second, so that `open_slot_path` finds it done.

    Args:
        architecture: Architecture of the network.
        otherwise: It is compiled, or has to be exact, and is not computed in slots.
    """
    if not otherwise and lacking_in_slots(architecture) is None:
        import harness.nn.kernels.ahead  # noqa: F401


def open_slot_path(
    network: RCNN,
    info: EngineInfo,
    device: torch.device,
    *,
    graphs: bool,
    notes: list[str],
) -> SlotPath | None:
    """Return the path without waits for a network on a GPU, with fused convolutions.

    Args:
        network: On the device, prepared for inference.
        info: What the engine was opened with.
        device: Where it computes.
        graphs: Whether a shape that comes again is launched as one CUDA graph.
        notes: Receives a sentence where Triton is missing or does not work, or the precision is
            emulated; the network is then unchanged, and the eager path computes.

    Returns:
        None on a CPU, for a network that is compiled or has to be exact, for one with parts that
        are not computed in slots, and on a GPU that has to emulate the precision.
    """
    if (emulated := emulation(info.precision, device)) is not None:
        notes.append(f"{emulated}, and the eager path computes")
        return None
    if (
        device.type != "cuda"
        or info.exact
        or info.compiled
        or without_slots(network.architecture, notes)
    ):
        return None
    operators = triton_operators(device, notes, instead="the eager path computes")
    if operators is None:
        return None
    passes = _passes(network, info, device)
    for module in network.modules():
        if isinstance(module, (Conv, Deconv)):
            module.gpu_passes = passes

    def notice(sentence: str) -> None:
        if sentence not in notes:
            notes.append(sentence)

    return SlotPath(network, operators, device, graphs=graphs, notice=notice)


def triton_operators(
    device: torch.device, notes: list[str], *, instead: str
) -> SlotOperators | None:
    """Return the kernels, after one was compiled and run; None where Triton does not work.

    Args:
        device: A GPU.
        notes: Receives a sentence that says why not.
        instead: What is done then, for the sentence.
    """
    try:
        from harness.nn.kernels.epilogue import finish
        from harness.nn.kernels.operators import TritonOperators

        finish(torch.zeros((1, 1, 1, 1), device=device), None, None, True)
    except Exception as error:  # whatever a compiler, a driver or a missing program raises
        notes.append(without_triton(error, instead=instead))
        return None
    return TritonOperators()


def is_of_triton(error: Exception) -> bool:
    """Return whether an error says that Triton could not make a program of a kernel.

    One that was made may be of another kernel than one that is not: each has its own needs.
    """
    return any(
        kind.__name__ == "TritonError" and kind.__module__.startswith("triton.")
        for kind in type(error).__mro__
    )


def without_triton(error: Exception, *, instead: str) -> str:
    """Return the sentence for kernels that are not used.

    Args:
        error: Why not.
        instead: What is done then.
    """
    said = getattr(error, "error_message", None) or str(error)  # that begins with the source
    reason = (str(said).strip() or type(error).__name__).splitlines()[0]
    return f"Triton cannot be used here, {instead}: {reason}"


def without_passes(network: RCNN) -> None:
    """Let a network compute what comes after its convolutions without kernels."""
    for module in network.modules():
        if isinstance(module, (Conv, Deconv)):
            module.gpu_passes = None


def without_slots(architecture: Architecture, notes: list[str]) -> bool:
    """Whether a network has a part that slots do not compute.

    Args:
        architecture: Architecture of the network.
        notes: Receives a sentence that says which.
    """
    lacking = lacking_in_slots(architecture)
    if lacking is not None:
        notes.append(f"{lacking} are not computed in slots, the eager path computes")
    return lacking is not None


def _passes(network: RCNN, info: EngineInfo, device: torch.device) -> GpuPasses:
    """Return how the GPU computes what comes after a convolution."""
    from harness.nn.kernels.epilogue import finish

    last = info.memory_format == "channels_last"
    layout = torch.channels_last if last else torch.contiguous_format
    return GpuPasses(
        finish,
        in_one_call=cudnn_keeps_nan(device, network.first_weight.dtype, layout),
        # cuDNN has small tiles only for 1×1 convolutions of true float32; cuBLAS has large ones.
        by_product=info.precision == "fp32" and not last,
    )


class Transit:
    """Memory for one batch on its way: pinned on the host, and its copy on the device.

    It grows to the largest batch it has carried.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pixels = self._landed = torch.empty(0, dtype=torch.uint8)
        self._answer = torch.empty(0, dtype=torch.int32)

    def pixels(self, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Return uint8 of a shape, on the host and on the device."""
        count = int(np.prod(shape))
        if len(self._pixels) < count:
            self._pixels = torch.empty(count, dtype=torch.uint8, pin_memory=True)
            self._landed = torch.empty(count, dtype=torch.uint8, device=self._device)
        return self._pixels[:count].view(shape), self._landed[:count].view(shape)

    def answer(self, batch: int, width: int) -> Tensor:
        """Return (batch, width) int32 on the host."""
        if len(self._answer) < batch * width:
            self._answer = torch.empty(batch * width, dtype=torch.int32, pin_memory=True)
        return self._answer[: batch * width].view(batch, width)


class Begun(NamedTuple):
    """A batch that the device computes."""

    images: Sequence[Resized]
    """Its images."""

    canvas: tuple[int, int]
    """Height and width of its padded input."""

    transit: Transit
    """Its memory."""

    answer: Tensor
    """Where its answer will be, on the host."""

    done: torch.cuda.Event
    """Reached when the answer is there."""


class SlotPath:
    """A native network on a GPU, without waits.

    Args:
        network: On the device, prepared for inference.
        operators: The kernels.
        device: The GPU.
        graphs: Whether a shape that comes again is launched as one CUDA graph.
        notice: Called with a sentence for what was done otherwise than asked.
        capacity: Slots for what no number of the network bounds.

    Attributes:
        network: The network in slots.
    """

    def __init__(
        self,
        network: RCNN,
        operators: SlotOperators,
        device: torch.device,
        *,
        graphs: bool,
        notice: Callable[[str], None],
        capacity: Capacity | None = None,
    ) -> None:
        self.capacity = Capacity() if capacity is None else capacity
        self._has_masks = network.architecture.has_masks
        self.network = SlotNetwork(network, operators, self.capacity)
        self._device = device
        self._upload = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._graphs = Graphs(self._compute, device, notice) if graphs else None
        self._idle: list[Transit] = []
        self._lock = threading.Lock()

    @property
    def graph_count(self) -> int:
        """Number of CUDA graphs."""
        return 0 if self._graphs is None else len(self._graphs)

    def begin(self, images: Sequence[Resized], least: tuple[int, int] = (0, 0)) -> Begun:
        """Give the device a batch to compute; returns at once.

        Args:
            images: Images of the batch.
            least: Height and width to which they are padded at least.
        """
        canvas = canvas_of(images, least)
        with self._lock:
            transit = self._idle.pop() if self._idle else Transit(self._device)
        compute = torch.cuda.current_stream(self._device)
        # Memory of the stream that writes it: the compute stream's may still be read by batches
        # that are under way.
        with torch.cuda.stream(self._upload):
            here, there = transit.pixels((len(images), *canvas, 3))
        frame = torch.empty((len(images), FRAME_NUMBERS), pin_memory=True)
        fill(images, here.numpy(), frame.numpy())
        with torch.cuda.stream(self._upload):
            there.copy_(here, non_blocking=True)
            landed = frame.to(self._device, non_blocking=True)
        compute.wait_stream(self._upload)
        landed.record_stream(compute)
        there.record_stream(compute)
        found = self._found(there, landed)
        answer = transit.answer(len(images), self.network.layout.width)
        answer.copy_(found, non_blocking=True)
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record(compute)
        return Begun(images, canvas, transit, answer, done)

    def finish(self, begun: Begun) -> list[Detections | Overflow]:
        """Wait for a batch and encode its detections; may run in any thread.

        Raises:
            FloatingPointError: When the network's output was not finite.
        """
        begun.done.synchronize()
        rows = begun.answer.numpy()
        try:
            return [
                detections_of(image, row, self.network.layout, self.capacity, self._has_masks)
                for image, row in zip(begun.images, rows, strict=True)
            ]
        finally:
            self.give_back(begun)

    def give_back(self, begun: Begun) -> None:
        """Make the memory of a computed batch available to another one."""
        with self._lock:
            self._idle.append(begun.transit)

    def _found(self, pixels: Tensor, frame: Tensor) -> Tensor:
        """Return the answer; where its memory is lacking, the graphs give theirs up."""
        graphs = self._graphs
        if graphs is None:
            return self._compute(pixels, frame)
        try:
            return graphs(pixels, frame)
        except RuntimeError as error:
            if not lacks_gpu_memory(error) or not len(graphs):
                raise
        graphs.give_up("out of memory")  # here no traceback holds half an image any longer
        return self._compute(pixels, frame)

    def _compute(self, pixels: Tensor, frame: Tensor) -> Tensor:
        parts = Frame(frame[:, :2], frame[:, 2:4].int(), frame[:, 4:])
        return self.network(pixels, parts)
