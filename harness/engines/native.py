"""The native engine: the network of ``harness.nn`` behind the Engine protocol.

Its contract is numerical equality with Detectron2 on the same weights and images, in fp32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from harness.core.architecture import Architecture
from harness.core.detections import Detections, Image
from harness.core.engine import EngineInfo, MemoryFormat, Precision, Stopwatch
from harness.core.errors import RunFailedError
from harness.data.images import resize, resize_shape
from harness.data.proposals import resized_proposals
from harness.engines.device_memory import not_fitting
from harness.engines.devices import (
    DTYPES,
    OnDevice,
    apply_precision,
    apply_threads,
    device_class,
    find_device,
    give_memory_back,
    keep_freed_memory,
    notes_on,
    starting,
)
from harness.engines.network_outputs import Overflow, Resized, canvas_of, encode, restore
from harness.engines.slot_path import (
    Begun,
    SlotPath,
    is_of_triton,
    open_slot_path,
    prepare_slot_path,
    without_passes,
    without_triton,
)
from harness.files.failures import lacks_gpu_memory
from harness.measure.timing import NULL_STOPWATCH
from harness.nn.operators import register_everything
from harness.nn.rcnn import RCNN, compute_exactly, prepare_for_inference
from harness.nn.unfilled import Unfilled, fill
from harness.zoo.weights import account_for, missing_statistics, open_checkpoint


class PreparedImage(NamedTuple):
    """An image resized for the network."""

    image_id: int
    """Id of the image."""

    pixels: npt.NDArray[np.uint8]
    """(h, w, 3) uint8 in the network's channel order."""

    height_px: int
    """Height of the original."""

    width_px: int
    """Width of the original."""

    proposals: npt.NDArray[np.float32] | None = None
    """(n, 4) px of the resized image, for a network that takes its proposals from a file."""


def open_native(
    *,
    architecture: Architecture,
    weights: Path,
    device: str = "auto",
    precision: Precision = "fp32",
    memory_format: MemoryFormat | None = None,
    compiled: bool = False,
    exact: bool = False,
    graphs: bool = True,
    threads: int | None = None,
) -> NativeEngine:
    """Return the native engine with a checkpoint, ready for inference.

    Args:
        architecture: The network and its test-time recipe.
        weights: A checkpoint of it.
        device: As in ``find_device``.
        precision: What convolutions and matrix products compute in.
        memory_format: Memory format of feature maps; None for ``own_memory_format``.
        compiled: By torch.compile, at the first image.
        exact: In the reference's own arithmetic, bit for bit (``compute_exactly``).
        graphs: On a GPU, launch a shape of images that comes again as one CUDA graph.
        threads: CPU threads; None for ``devices.usable_threads``.
    """
    place = find_device(device)
    apply_precision(precision, place)
    keep_freed_memory(place)
    layout = memory_format or own_memory_format(place, precision, exact=exact)
    notes = notes_on(device)
    with starting(place, partial(prepare_slot_path, architecture, exact or compiled)):
        network = load_network(architecture, weights, notes)
        _prepare(network, place, exact=exact, compiled=compiled)
    _move(network, place, layout, precision, compiled=compiled)
    info = EngineInfo(
        name="native",
        version=torch.__version__,
        device=str(place),
        device_class=device_class(place),
        precision=precision,
        threads=apply_threads(threads),
        architecture=architecture,
        memory_format=layout,
        compiled=compiled,
        exact=exact,
    )
    slots = open_slot_path(network, info, place, graphs=graphs, notes=notes)
    return NativeEngine(network, info, place, slots, notes)


def _prepare(network: RCNN, device: torch.device, *, exact: bool, compiled: bool) -> None:
    """Prepare a network on the CPU for the arithmetic in which it will compute on a device."""
    if exact:
        compute_exactly(network)
    else:
        prepare_for_inference(network, device, compiled=compiled)


def _move(
    network: RCNN,
    device: torch.device,
    layout: MemoryFormat,
    precision: Precision,
    *,
    compiled: bool,
) -> None:
    """Move a network to the device, layout and precision in which it will compute."""
    network.to(device)
    if layout == "channels_last":
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs
    for part in network.precise_parts:
        part.to(DTYPES[precision])
    one_map = network.architecture.neck != "fpn" and not network.architecture.given_proposals
    if one_map and layout == "channels_last" and device.type == "cpu" and precision == "fp32":
        network.proposal_generator.rpn_head.convolve_contiguous_maps()
    if compiled:
        compile_static_parts(network)


def own_memory_format(
    device: torch.device, precision: Precision, *, exact: bool = False
) -> MemoryFormat:
    """Return the layout that is fastest: channels last, but for fp32 on a GPU.

    There cuDNN's convolutions of true float32 work on contiguous maps, and converting them before
    and after each convolution costs a tenth of the network. The reference's is contiguous.
    """
    if exact or (device.type == "cuda" and precision == "fp32"):
        return "contiguous"
    return "channels_last"


def load_network(architecture: Architecture, weights: Path, notes: list[str] | None = None) -> RCNN:
    """Return the network in fp32 on the CPU, with its weights.

    Args:
        architecture: The network.
        weights: A checkpoint of it.
        notes: Receives what was left out of the names of tensors, and which table was taken.

    Raises:
        IntegrityError: A tensor is missing, left over, or of another shape.
    """
    with Unfilled():
        network = RCNN(architecture).eval().requires_grad_(False)
    own = network.state_dict()
    expected = {key: tuple(tensor.shape) for key, tensor in own.items()}
    checkpoint = open_checkpoint(weights)
    if notes is not None:
        notes.extend(checkpoint.notes)
        if missing_statistics(checkpoint.tensors, expected):
            notes.append(
                f"{weights.name}: BatchNorm's statistics are not in it; mean 0 and variance 1 are "
                "taken, as Detectron2 does for files of its first versions"
            )
    fill(own, account_for(checkpoint.tensors, expected, where=str(weights)))
    return network


def compile_static_parts(network: RCNN) -> None:
    """Compile, at their first call, the parts whose work depends on nothing but shapes.

    One compilation serves all sizes of images and all numbers of regions.
    """
    register_everything()
    if network.architecture.detector == "dense":
        network.backbone.compile(dynamic=True)
        network.head.compile(dynamic=True)
        return
    if network.architecture.detector == "rpn":
        network.backbone.compile(dynamic=True)
        network.proposal_generator.rpn_head.compile(dynamic=True)
        return
    heads = network.roi_heads
    own = heads.res5 if network.architecture.neck == "c4" else heads.box_head
    stages = own.children() if network.architecture.is_cascade else [own]
    given = network.architecture.given_proposals
    head = () if given else (network.proposal_generator.rpn_head,)
    for part in (network.backbone, *head, *stages):
        part.compile(dynamic=True)


class Pending(NamedTuple):
    """A batch that was begun."""

    parts: list[Begun]
    """Parts that the GPU computes."""

    done: list[Detections]
    """Detections that exist already."""

    slots: SlotPath | None = None
    """What computes the parts; None where there are none."""


class NativeEngine(OnDevice):
    """An opened network. Not thread-safe, but ``prepare`` and ``finish`` may run in any thread.

    Args:
        network: Prepared for inference, on ``device``.
        info: What it was opened with.
        device: Where it computes.
        slots: How a GPU computes without waits; None for the eager path.
        notes: Sentences about what is done otherwise than asked; more may come.
    """

    def __init__(
        self,
        network: RCNN,
        info: EngineInfo,
        device: torch.device,
        slots: SlotPath | None = None,
        notes: list[str] | None = None,
    ) -> None:
        self.network = network
        self.info = info
        self.device = device
        self.slots = slots
        self.notes = [] if notes is None else notes
        self._eager_turn = Lock()

    def prepare(self, image: Image, stopwatch: Stopwatch) -> PreparedImage:
        """Return the image resized to the architecture's test size, in its channel order."""
        numbers = self.info.architecture
        with stopwatch.phase("resize"):
            height, width = resize_shape(
                image.height_px, image.width_px, numbers.short_edge_px, numbers.long_edge_max_px
            )
            pixels = resize(image.pixels_bgr, height, width)
            if numbers.channel_order == "RGB":
                pixels = np.ascontiguousarray(pixels[:, :, ::-1])
            given = resized_proposals(image, (height, width), numbers)
        return PreparedImage(image.image_id, pixels, image.height_px, image.width_px, given)

    def infer(self, prepared: Sequence[PreparedImage], stopwatch: Stopwatch) -> list[Detections]:
        """Return detections of each image, in order, in original pixels.

        Raises:
            RunFailedError: When the network's output is not finite, or one image needs more memory
                than the device has.
        """
        if self.slots is None:
            return self._split_where_it_does_not_fit(prepared, stopwatch)
        with stopwatch.phase("forward"):
            pending = self.begin(prepared)
            for part in pending.parts:
                part.done.synchronize()
        with stopwatch.phase("encode"):
            return self.finish(pending)

    @property
    def runs_ahead(self) -> bool:
        """Whether ``begin`` returns before the batch is computed."""
        return self.slots is not None

    @torch.inference_mode()
    def begin(self, prepared: Sequence[PreparedImage]) -> Pending:
        """Give the device a batch; ``finish`` waits for it. On the eager path it is done here."""
        apply_precision(self.info.precision, self.device)  # another engine may have computed since
        if self.slots is None:
            return Pending([], self._split_where_it_does_not_fit(prepared, NULL_STOPWATCH))
        slots = self.slots
        try:
            return Pending(self._begun(slots, prepared, canvas_of(prepared)), [], slots)
        except Exception as error:
            if not is_of_triton(error):
                raise
            self._give_up_kernels(error)
        return Pending([], self._split_where_it_does_not_fit(prepared, NULL_STOPWATCH))

    @torch.inference_mode()
    def finish(self, pending: Pending) -> list[Detections]:
        """Return the detections of a batch that was begun.

        Raises:
            RunFailedError: As in `infer`.
        """
        found = list(pending.done)
        for part in pending.parts:
            assert pending.slots is not None  # who else began it
            try:
                answers = pending.slots.finish(part)
            except FloatingPointError as error:
                raise _not_finite(part.images, error) from None
            for image, answer in zip(part.images, answers, strict=True):
                if isinstance(answer, Overflow):
                    self._note(f"image {answer.image_id} took the eager path: {answer.reason}")
                    (answer,) = self._split_where_it_does_not_fit(
                        [image], NULL_STOPWATCH, part.canvas
                    )
                found.append(answer)
        return found

    def _give_up_kernels(self, error: Exception) -> None:
        """Compute on the eager path from now on, for a kernel could not be compiled."""
        with self._eager_turn:  # another thread may compute with what is taken away
            self.slots = None
            without_passes(self.network)
        self._note(without_triton(error, instead="the eager path computes"))

    def _begun(
        self, slots: SlotPath, prepared: Sequence[PreparedImage], canvas: tuple[int, int]
    ) -> list[Begun]:
        """Begin the batch; where it does not fit into memory, its halves one after the other."""
        try:
            return [slots.begin(prepared, canvas)]
        except RuntimeError as error:
            self._require_memory_for_less(prepared, error)
        self._make_room(prepared)
        middle = len(prepared) // 2
        begun = self._begun(slots, prepared[:middle], canvas)
        for part in begun:
            part.done.synchronize()  # its memory is the other half's
        return begun + self._begun(slots, prepared[middle:], canvas)

    def _split_where_it_does_not_fit(
        self,
        prepared: Sequence[Resized],
        stopwatch: Stopwatch,
        canvas: tuple[int, int] = (0, 0),
    ) -> list[Detections]:
        """Infer on the eager path, with the batch halved where the device's memory is too small."""
        try:
            return self._infer_eagerly(prepared, stopwatch, canvas)
        except Exception as error:  # ONNX Runtime's have no narrower class in common
            self._require_memory_for_less(prepared, error)
        self._make_room(prepared)
        middle, divisor = len(prepared) // 2, self.info.architecture.size_divisor_px
        whole = canvas_of(prepared, canvas, divisor_px=divisor)
        parts = (prepared[:middle], prepared[middle:])
        return [
            one
            for part in parts
            for one in self._split_where_it_does_not_fit(part, stopwatch, whole)
        ]

    def _require_memory_for_less(self, prepared: Sequence[Resized], error: Exception) -> None:
        """Check that an error is one that a smaller batch may not meet.

        Raises:
            RunFailedError: The batch is one image and cannot be split.
            Exception: It is another error.
        """
        if not lacks_gpu_memory(error):
            raise error
        if len(prepared) == 1:
            height, width = prepared[0].pixels.shape[:2]
            raise not_fitting([prepared[0].image_id], (height, width), self.info) from error

    def _make_room(self, prepared: Sequence[Resized]) -> None:
        """Release unused memory, when no traceback holds some any longer; and note it."""
        self._note(f"a batch of {len(prepared)} did not fit into GPU memory and was split")
        give_memory_back(self.device)

    @contextmanager
    def step_by_step(self) -> Iterator[None]:
        """Inside the block the eager path computes, whatever the device."""
        kept, self.slots = self.slots, None
        try:
            yield
        finally:
            self.slots = kept

    def _note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)

    @torch.inference_mode()
    def _infer_eagerly(
        self,
        prepared: Sequence[Resized],
        stopwatch: Stopwatch,
        canvas: tuple[int, int],
    ) -> list[Detections]:
        """Infer step by step, with a wait wherever a number of rows has to be known."""
        with self._eager_turn:
            return self._infer_steps(prepared, stopwatch, canvas)

    def _infer_steps(
        self,
        prepared: Sequence[Resized],
        stopwatch: Stopwatch,
        canvas: tuple[int, int],
    ) -> list[Detections]:
        apply_precision(self.info.precision, self.device)  # another engine may have computed since
        with stopwatch.phase("transfer"):
            tensors = [
                torch.from_numpy(one.pixels).to(self.device).permute(2, 0, 1) for one in prepared
            ]
            given = [
                torch.from_numpy(one.proposals).to(self.device)
                for one in prepared
                if one.proposals is not None
            ]
        with stopwatch.phase("forward"):
            batch = self.network.batch(tensors, canvas)
            try:
                found = self.network(batch, given)
            except FloatingPointError as error:
                raise _not_finite(prepared, error) from None
        with stopwatch.phase("paste"):
            restored = [
                restore(one, found, index, size, self.info.architecture)
                for index, (one, size) in enumerate(zip(prepared, batch.sizes, strict=True))
            ]
        with stopwatch.phase("encode"):
            return [encode(one, parts) for one, parts in zip(prepared, restored, strict=True)]

    def close(self) -> None:
        """Free the device's memory."""
        self.slots = None
        del self.network
        give_memory_back(self.device)


def _not_finite(images: Sequence[Resized], error: FloatingPointError) -> RunFailedError:
    ids = ", ".join(str(one.image_id) for one in images)
    return RunFailedError(
        f"image {ids}: {error}",
        hint="reduced precision can overflow: try --precision fp32; else check the weights",
    )
