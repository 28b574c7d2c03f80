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

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(4_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if {keep}:
    keep_freed_memory(torch.device("cpu"))
faults()
print(faults())
"""


def faults_of_a_second_tensor(*, keep: bool) -> int:
    """Page faults of a tensor of 16 MB (some 4,000 pages), after one of its size was freed."""
    words = [sys.executable, "-c", FAULTS.format(keep=keep)]
    return int(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_used_again() -> None:
    kept = faults_of_a_second_tensor(keep=True)
    assert kept < 100
    # Otherwise the setting would be without a purpose here.
    assert faults_of_a_second_tensor(keep=False) > 10 * (kept + 1)
