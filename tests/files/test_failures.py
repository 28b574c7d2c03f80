"""Failures of the system are sentences with what to do, wherever they happen."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from harness.core.errors import HarnessError, PrerequisiteError, RunFailedError, UsageError
from harness.files.atomic import write_text
from harness.files.failures import failure_of, unwritable


@pytest.mark.parametrize(
    ("number", "kind", "advice"),
    [
        (errno.EACCES, UsageError, "each folder on the way"),
        (errno.ENAMETOOLONG, UsageError, "spelled right"),
        (errno.ENOSPC, RunFailedError, "make room"),
        (errno.EFBIG, RunFailedError, "make room"),
        (errno.EIO, RunFailedError, "disk failed"),
        (errno.EMFILE, RunFailedError, "ulimit -n"),
        (errno.ENOMEM, RunFailedError, "ulimit -v"),
    ],
)
def test_a_file_is_named_with_what_to_do(
    number: int, kind: type[HarnessError], advice: str
) -> None:
    error = failure_of(OSError(number, os.strerror(number), "some file"))
    assert type(error) is kind
    assert error.message == f"cannot use some file: {os.strerror(number)}"
    assert advice in str(error)


@pytest.mark.parametrize(
    ("raised", "advice"),
    [
        (MemoryError(), "ulimit -v"),
        (RuntimeError("can't start new thread"), "ulimit -u"),
        (RuntimeError("Resource temporarily unavailable"), "ulimit -u"),
        (FileNotFoundError(2, "No usable temporary directory found in ['/tmp']"), "TMPDIR"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "ulimit -u"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried …"), "--batch-size"),
        (OSError(errno.ENOSPC, "No space left on device"), "make room"),
    ],
)
def test_failures_without_a_file(raised: Exception, advice: str) -> None:
    error = failure_of(raised, then="then go on")
    assert isinstance(error, RunFailedError)
    assert advice in str(error)
    assert str(error).endswith("; then go on")
    assert "Errno" not in str(error)


@pytest.mark.parametrize(
    ("said", "kind", "message", "advice"),
    [
        (
            "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be …",
            RunFailedError,
            "the GPU failed: CUDA error: an illegal memory access was encountered",
            "nvidia-smi",
        ),
        (
            "CUDA error: uncorrectable ECC error encountered\nmore",
            RunFailedError,
            "the GPU failed: CUDA error: uncorrectable ECC error encountered",
            "nvidia-smi",
        ),
        (
            "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
            RunFailedError,
            "the GPU failed: cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
            "; then go on",
        ),
        (
            "CUDA out of memory. Tried to allocate 2.00 GiB",
            RunFailedError,
            "there is too little memory: CUDA out of memory. Tried to allocate 2.00 GiB",
            "lower --batch-size",
        ),
        (
            "CUDA error: no kernel image is available for execution on the device\nmore",
            PrerequisiteError,
            "the GPU is none that this installation has code for: CUDA error: no kernel image is "
            "available for execution on the device",
            "--device cpu",
        ),
    ],
)
def test_a_gpu_that_fails_is_no_bug(
    said: str, kind: type[HarnessError], message: str, advice: str
) -> None:
    error = failure_of(RuntimeError(said), then="then go on")
    assert type(error) is kind
    assert error.message == message
    assert advice in str(error.hint)


@pytest.mark.parametrize(
    "raised",
    [
        FileNotFoundError(errno.ENOENT, "No such file"),
        ValueError("x"),
        RuntimeError("a bug"),
        ValueError("CUDA error: x"),
    ],
)
def test_what_is_no_failure_of_the_system_stays_what_it_is(raised: Exception) -> None:
    assert failure_of(raised) is None


def test_a_full_disk_is_not_a_wrong_argument() -> None:
    error = unwritable(Path("folder"), OSError(errno.ENOSPC, "No space left on device"))
    assert isinstance(error, RunFailedError)
    assert "make room" in str(error)


def test_a_failed_write_names_the_file_and_not_its_temporary_name(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"a\.json") as caught:
        write_text(tmp_path / "a.json" / ("x" * 250), "text")
    assert ".tmp" not in str(caught.value)
