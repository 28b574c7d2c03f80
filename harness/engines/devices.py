"""Devices by name, and the settings of torch that decide what "fp32" means."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from threading import Thread

from harness.core.engine import Precision, require_device_word
from harness.core.errors import PrerequisiteError, UsageError, bounded
from harness.core.garbage_collection import collector_paused
from harness.core.printable import counted, printable
from harness.files.environment import NVIDIA_DEVICE, cpu_name, usable_cpus
from harness.files.failures import lacks_gpu_memory

with collector_paused():  # which took a sixth of this import, for objects that all stay
    import torch
    from torch.nn.functional import conv2d

#: Digits of a number of threads; a longer one is none that a machine has.
LONGEST_COUNT = 9

#: glibc's names for what ``mallopt`` sets (``malloc.h``), and its value for "never".
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER = -1

#: First compute capability with arithmetic in bfloat16 (Ampere; CUDA C++ Programming Guide, table
#: of arithmetic by compute capability).
BF16_SINCE = (8, 0)

#: The variable that chooses which GPUs a program sees.
VISIBLE = "CUDA_VISIBLE_DEVICES"

#: What each precision computes convolutions and matrix products in.
DTYPES: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


def find_device(name: str) -> torch.device:
    """Return the torch device for ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        UsageError: Another word.
        PrerequisiteError: A GPU that is not there.
    """
    if name == "auto":
        return torch.device("cuda:0" if gpu_count() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    require_device_word(name)
    index, count = int(name.partition(":")[2] or "0"), gpu_count()
    if index >= count:
        raise PrerequisiteError(
            why_no_gpu()
            or f"device {name} is not there: torch sees {counted(count, 'CUDA device')}",
            hint="run: harness doctor, or choose --device cpu",
        )
    return torch.device("cuda", index)


def named_device(name: str) -> torch.device:
    """Return the device of a name; ``auto`` is the one of this machine, others need not be here."""
    return find_device(name) if name == "auto" else torch.device(name)


def why_no_gpu() -> str | None:
    """Return why torch does not compute on a GPU of this machine.

    Returns:
        One sentence; None where torch can, or where there is no NVIDIA GPU.
    """
    if gpu_count() or not NVIDIA_DEVICE.exists():
        return None
    if torch.version.cuda is None:
        return (
            f"this machine has an NVIDIA GPU, and torch {torch.__version__} was built without CUDA"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of the same fact
        try:
            torch.cuda.init()  # type: ignore[no-untyped-call]
        except (RuntimeError, AssertionError) as error:
            reason = bounded(printable(str(error).partition("\n")[0]), 300)
            visible = os.environ.get(VISIBLE)
            chosen = "" if visible is None else f" ({VISIBLE} is {visible!r})"
            return f"this machine has an NVIDIA GPU that torch cannot use: {reason}{chosen}"
    return None


def notes_on(name: str) -> list[str]:
    """Return the sentence on a GPU that ``auto`` did not take; none where there is nothing to say.

    Args:
        name: As in ``find_device``.
    """
    reason = why_no_gpu() if name == "auto" else None
    return [] if reason is None else [f"{reason}; the CPU computes"]


def gpu_count() -> int:
    """Return how many GPUs torch can compute on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of a driver that is too old: `why_no_gpu`
        return torch.cuda.device_count() if torch.cuda.is_available() else 0


def device_class(device: torch.device) -> str:
    """Return the product name of the device; speeds compare only within one."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()


def apply_precision(precision: Precision, device: torch.device) -> None:
    """Set torch's process-wide switches so that ``fp32`` is true fp32: TF32 only when asked for.

    TF32 is on by default for cuDNN, and it alone moved Detectron2's own accuracy tests out of
    their tolerance (facebookresearch/detectron2#5348).
    """
    require_precision(precision, device)
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


def require_precision(precision: Precision, device: torch.device) -> None:
    """Check that a device computes in a precision.

    Raises:
        UsageError: It does not.
    """
    if precision in ("tf32", "fp16") and device.type != "cuda":
        raise UsageError(
            f"precision {precision} needs a CUDA device, not {device}",
            hint="choose --precision fp32 or bf16",
        )
    lacking = _without_bf16(precision, device)
    if lacking is not None and (reason := _refusal_of_bf16(device)) is not None:
        raise UsageError(
            f"{lacking}, and torch does not compute in it there: {reason}",
            hint="choose --precision fp16",
        )


def emulation(precision: Precision, device: torch.device) -> str | None:
    """Return what is to be said where a device computes in a precision that it does not have.

    torch then converts, or computes in another one. Kernels of one's own need the arithmetic.

    Args:
        precision: One that ``require_precision`` lets through.
        device: Where is computed.

    Returns:
        The beginning of a sentence; None where the device has the arithmetic.
    """
    lacking = _without_bf16(precision, device)
    return None if lacking is None else f"{lacking}: torch emulates it"


def _without_bf16(precision: Precision, device: torch.device) -> str | None:
    """Return that a GPU has no arithmetic in bf16, where it is asked for; the GPU is not opened."""
    if precision != "bf16" or device.type != "cuda":
        return None
    capability = torch.cuda.get_device_capability(device)
    if capability >= BF16_SINCE:
        return None
    found, needed = ("{}.{}".format(*one) for one in (capability, BF16_SINCE))
    name = printable(torch.cuda.get_device_name(device))
    return f"precision bf16 needs a GPU of compute capability {needed}, {name} has {found}"


@cache
def _refusal_of_bf16(device: torch.device) -> str | None:
    """Return why torch does not convolve and multiply in bf16 on a device; None where it does.

    What torch emulates depends on the card, its version and cuDNN's, so that it is tried.
    """
    kind = torch.bfloat16
    try:
        maps = torch.ones((1, 8, 4, 4), dtype=kind, device=device)
        rows = torch.ones((8, 8), dtype=kind, device=device)
        convolved = conv2d(maps, torch.ones((8, 8, 3, 3), dtype=kind, device=device))
        right = bool((convolved == 72).all()) and bool((rows @ rows == 8).all())
    except Exception as error:  # whatever torch, cuDNN or the driver raises
        if lacks_gpu_memory(error):
            return None  # which says nothing of bf16
        lines = str(error).strip().splitlines()
        return bounded(printable(lines[0] if lines else type(error).__name__), 300)
    return None if right else "the result is wrong"


def require_single_precision(engine: str, precision: Precision) -> None:
    """Check that a precision is fp32 or tf32, for an engine that computes in nothing else.

    Raises:
        UsageError: It is another.
    """
    if DTYPES[precision] != torch.float32:
        raise UsageError(
            f"the {engine} engine computes in fp32 or tf32, not {precision}",
            hint="choose --precision fp32",
        )


def require_compiler(device: torch.device) -> None:
    """Check that torch.compile can generate code for a device.

    Raises:
        PrerequisiteError: The compiler or package it needs is missing.
    """
    if device.type == "cuda":
        if importlib.util.find_spec("triton") is None:
            raise PrerequisiteError("--compile needs the triton package on a GPU")
        return
    # Which program torch calls: torch/_inductor/config.py, ``cpp.cxx``.
    program = os.environ.get("CXX", "g++")
    if shutil.which(program) is None:
        raise PrerequisiteError(
            f"--compile needs a C++ compiler on a CPU, and there is no {program}",
            hint="install g++, name another with the variable CXX, or leave out --compile",
        )


def apply_threads(threads: int | None) -> int:
    """Set torch's CPU threads and return their number; None means ``usable_threads``."""
    count = threads or usable_threads()
    torch.set_num_threads(count)
    return count


def usable_threads(processes: int = 1) -> int:
    """Return how many CPU threads a process may have when the user asks for no number.

    Args:
        processes: How many share the machine.

    Returns:
        One for each core of its share, and no more than ``OMP_NUM_THREADS`` where that is a number:
        who starts several programs side by side sets it, and more threads than cores wait for each
        other longer than they compute.
    """
    share = max(1, usable_cpus() // processes)
    limit = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    known = limit.isdecimal() and len(limit) <= LONGEST_COUNT and int(limit) > 0
    return min(share, int(limit)) if known else share


def keep_freed_memory(device: torch.device) -> None:
    """Set the C library to keep what a CPU network frees for its next layer and image.

    By default glibc maps each large tensor again, and the kernel then provides zeroed pages one
    fault at a time: for a feature map of 62 MB that takes longer than to compute it. Changes
    nothing with another C library.
    """
    if device.type != "cpu":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, NEVER)


@contextmanager
def starting(device: torch.device, prepare: Callable[[], object]) -> Iterator[None]:
    """Have a GPU begin in a thread of its own, while the block does what needs none.

    The first use of a GPU in a process takes its driver a second or so, without Python's lock. The
    thread has ended when the block is left.

    Args:
        device: Where will be computed; on a CPU nothing is done ahead.
        prepare: Called in the thread afterwards. What it or the device raises is left to the caller
            to meet, whose own use of them raises it again.
    """
    if device.type != "cuda":
        yield
        return

    def begin() -> None:
        with suppress(Exception):
            torch.cuda.synchronize(device)
            prepare()

    thread = Thread(target=begin, name="device", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory_bytes(device: torch.device) -> int | None:
    """Return the peak bytes torch allocated on the GPU; None on a CPU."""
    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else None


def give_memory_back(device: torch.device) -> None:
    """Release the GPU memory that torch keeps but nothing uses; a GPU that has failed has none."""
    if device.type == "cuda":
        with suppress(RuntimeError):  # it would hide the error that the GPU failed with
            torch.cuda.empty_cache()


class OnDevice:
    """What engines with a network of torch have in common.

    Attributes:
        device: Where the network is.
    """

    device: torch.device

    def synchronize(self) -> None:
        """Wait for the device."""
        synchronize(self.device)

    def peak_memory_bytes(self) -> int | None:
        """Return the peak bytes torch allocated on the GPU; None on a CPU."""
        return peak_memory_bytes(self.device)
