"""Failures of the system - files, disks, memory, limits, GPUs - as errors that say what to do.

What the system refuses is for its user to change: a permission, a name, a limit, room on a disk.
None of it is a bug, wherever it happens, so none may end in a traceback.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.core.errors import HarnessError, PrerequisiteError, RunFailedError, UsageError

#: Nothing may be written, or a file is where a folder should be, or the other way round.
REFUSALS = (
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.EISDIR, errno.ENOTDIR, errno.EEXIST),
)

#: A name that no file can have.
NO_NAMES = (errno.ENAMETOOLONG, errno.ELOOP, errno.EILSEQ)

#: A disk, a quota or a limit on the size of files is used up.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

#: The disk, or the server of a file system, fails.
BROKEN = (errno.EIO, errno.ESTALE, errno.ENXIO, errno.ENODEV)

#: Error number → what to do.
HINTS = {
    **dict.fromkeys(FULL, "make room"),
    **dict.fromkeys(BROKEN, "its disk failed, see the log of the system; or make room on it"),
    errno.EMFILE: "this process may not open more files: raise the limit (ulimit -n 4096), or give "
    "fewer --workers or --loaders",
    errno.ENFILE: "no process here may open more files: end others, or raise fs.file-max",
    errno.EAGAIN: "no more processes or threads may be started: raise the limit (ulimit -u), or "
    "give fewer --workers, --loaders or --threads",
    errno.ENOMEM: "end other programs, raise the limit (ulimit -v), or give fewer --workers or "
    "--loaders, or a smaller --batch-size",
}

#: Characters of a reason that a library gives.
LONGEST_REASON = 200

#: What to do after that where no command is known.
AGAIN = "then give the same command again"

#: What Python's tempfile says, in an error of a file that is not there.
NO_TEMPORARY = "No usable temporary directory found in "

#: What libraries say, in errors of no kind of their own, when the system gives no more.
SAID = {
    "can't start new thread": errno.EAGAIN,
    "resource temporarily unavailable": errno.EAGAIN,  # threads of C++
    "can't allocate memory": errno.ENOMEM,  # PyTorch
    "not enough memory": errno.ENOMEM,  # PyTorch
    "std::bad_alloc": errno.ENOMEM,
    "failed to map segment": errno.ENOMEM,  # the loader of shared libraries
    "cannot allocate memory": errno.ENOMEM,
}

#: How what allocates memory of a GPU says that there is none: torch, CUDA itself (a graph that is
#: made, pinned memory, Triton's programs), cuBLAS and cuDNN; ONNX Runtime.
OUT_OF_GPU_MEMORY = (
    *("out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED"),
    *("Failed to allocate memory for requested buffer", "is smaller than requested bytes"),
)

#: What is in the errors of libraries that compute on a GPU, when that, or its driver, failed.
GPU_FAILED = (
    *("CUDA error", "CUDA failure", "CUDA driver error", "CUDA out of memory", "Triton Error"),
    *("CUDNN_STATUS", "CUBLAS_STATUS", "CUSOLVER_STATUS", "NCCL error"),
)

#: What CUDA says of a card for which a library has no code.
NO_CODE = "no kernel image is available"


def failure_of(
    error: BaseException, *, place: Path | None = None, then: str = AGAIN
) -> HarnessError | None:
    """Return the error, in words, for a failure of the system; None for any other.

    Args:
        error: Whatever was raised.
        place: Named where the failure names no file; None where nothing is known.
        then: What to do when the cause is gone.

    Returns:
        A UsageError for a file that the system refuses, a PrerequisiteError for a GPU that a
        library has no code for, a RunFailedError for the rest.
    """
    if NO_TEMPORARY in str(error):
        return RunFailedError(
            "no folder for temporary files can be written: "
            + str(error).partition(NO_TEMPORARY)[2],
            hint=f"make room there, or set TMPDIR to a folder that can be written; {then}",
        )
    if (failed := _failure_of_gpu(error, then)) is not None:
        return failed
    number = _number_of(error)
    named = error.filename if isinstance(error, OSError) else None
    subject = place if named is None else named
    if number is None or (number not in HINTS and subject is None):
        return None
    reason = _reason(error, number)
    message = reason if subject is None else f"cannot use {_text(subject)}: {reason}"
    if number not in HINTS:
        hint = "check that it is spelled right, and that you may open each folder on the way to it"
        return UsageError(message, hint=hint)
    return RunFailedError(message, hint=f"{HINTS[number]}; {then}")


def lacks_gpu_memory(error: BaseException) -> bool:
    """Return whether an error is that of a library which found no memory of a GPU."""
    return _is_of_library(error) and any(words in str(error) for words in OUT_OF_GPU_MEMORY)


def lacks_memory(error: BaseException) -> bool:
    """Return whether an error says that there was too little memory, of a GPU or of the machine."""
    return lacks_gpu_memory(error) or _number_of(error) == errno.ENOMEM


def _is_of_library(error: BaseException) -> bool:
    """Return whether an error is of a kind that libraries raise when a device fails.

    ONNX Runtime's have no class in common.
    """
    return isinstance(error, RuntimeError) or type(error).__module__.startswith("onnxruntime.")


def _failure_of_gpu(error: BaseException, then: str) -> HarnessError | None:
    """Return the error, in words, for a failure of a GPU; None for any other."""
    said = str(error)
    if lacks_gpu_memory(error):
        return RunFailedError(
            f"there is too little memory: {_first_line(said)}",
            hint="lower --batch-size or --short-edge, or end what else has the memory (of a "
            f"GPU: nvidia-smi); {then}",
        )
    if not _is_of_library(error) or not any(words in said for words in GPU_FAILED):
        return None
    if NO_CODE in said:
        return PrerequisiteError(
            f"the GPU is none that this installation has code for: {_first_line(said)}",
            hint="install a torch that was built for it, or choose --device cpu",
        )
    return RunFailedError(
        f"the GPU failed: {_first_line(said)}",
        hint="nvidia-smi and the log of the system (Xid) say whether it is broken; "
        f"{then}; if it fails there again, please report what --verbose prints",
    )


def _first_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0][:LONGEST_REASON] if lines else "it gives no reason"


@contextmanager
def system_failures() -> Iterator[None]:
    """Turn failures of the system in the block into errors that say what to do.

    Raises:
        UsageError: The system refuses a file.
        PrerequisiteError: A library has no code for the GPU.
        RunFailedError: A disk or a GPU is full or fails, or memory, files or processes are used up.
    """
    try:
        yield
    except Exception as error:
        failure = failure_of(error)
        if failure is None:
            raise
        raise failure from error


def _reason(error: BaseException, number: int) -> str:
    """Return what the system says of a failure, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    return os.strerror(number) + (f" ({lines[0][:LONGEST_REASON]})" if lines else "")


def _number_of(error: BaseException) -> int | None:
    """Return the number of a failure of the system; None where it is another failure."""
    if isinstance(error, OSError):
        known = error.errno in (*REFUSALS, *NO_NAMES, *HINTS)
        return error.errno if known else None
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    text = str(error).casefold()
    if isinstance(error, (RuntimeError, ImportError)):
        return next((number for said, number in SAID.items() if said in text), None)
    return None


def _text(name: object) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


def reason_of(error: BaseException) -> str:
    """Return what the system says and of which file; else the kind of error and its text."""
    if isinstance(error, OSError) and error.strerror:
        named = "" if error.filename is None else f"{_text(error.filename)}: "
        return named + error.strerror
    return f"{type(error).__name__}: {error}"


def is_refusal(error: OSError) -> bool:
    """Whether the system refuses to write there at all, as opposed to a disk that is full."""
    return error.errno in REFUSALS


def unwritable(path: Path, error: OSError) -> HarnessError:
    """Return the error for a place that cannot be written, with what to do.

    Args:
        path: The place.
        error: What the system said.

    Returns:
        A UsageError where the system refuses, a RunFailedError where the disk is full or fails.
    """
    message = f"cannot write {path}: {error.strerror or error}"
    if error.errno in HINTS:
        return RunFailedError(message, hint=f"{HINTS[error.errno]}; {AGAIN}")
    return UsageError(message, hint="choose a place that can be written")


#: Of downloads, in `disk_errors`.
ARRIVED = "what has arrived is kept: "


@contextmanager
def disk_errors(path: Path, *, kept: str = "") -> Iterator[None]:
    """Turn failures of the disk in the block into errors that name the file they happened to.

    Args:
        path: Named where the failure names no file.
        kept: What of the work stays, such as `ARRIVED`; empty where nothing does.

    Raises:
        UsageError: Nothing may be written there.
        RunFailedError: The disk is full, and the rest.
    """
    try:
        yield
    except OSError as error:
        message = f"cannot write {error.filename or path}: {error.strerror or error}"
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            hint = "choose a place that can be written, with --output or --root"
            raise UsageError(message, hint=hint) from error
        what = HINTS.get(error.errno or 0, "make room")
        hint = f"{kept}{what}, {AGAIN}"
        raise RunFailedError(message, hint=hint) from error
