"""Every kernel compiles for cards that are not here, and is launched where its tensors are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton is not installed: pip install triton")

SCRIPT = Path(__file__).with_name("compiling.py")
REPOSITORY = SCRIPT.parents[3]

#: Turing, without arithmetic in bf16; and Hopper.
CAPABILITIES = (75, 90)


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_every_kernel_compiles_for_a_card_that_is_not_here(capability: int, tmp_path: Path) -> None:
    environment = {
        **{key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"},
        "TRITON_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": str(REPOSITORY),
    }
    command = [sys.executable, str(SCRIPT), str(capability)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == [
        *("_finish", "_overlaps", "_pool", "_select", "_sweep", "_trace", "_write")
    ]
