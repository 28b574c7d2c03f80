"""What a device's settings do to the process; run in one of its own."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import torch
from harness.engines.devices import keep_freed_memory

if {keep}:
    keep_freed_memory(torch.device("cpu"))
for layer in range(20):
    if layer == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.relu(torch.empty(15_000_000).fill_(1.0))
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*, keep: bool) -> int:
    """Page faults of ten layers with two tensors of 60 MB each, after ten that warmed up."""
    words = [sys.executable, "-c", FAULTS.format(keep=keep)]
    return int(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_used_again() -> None:
    assert faults(keep=True) < 0.1 * faults(keep=False)
