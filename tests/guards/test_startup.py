"""Commands that compute nothing load nothing heavy: that is what makes them answer at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Each of these costs more to import than the whole answer may take.
HEAVY = (
    "torch",
    "torchvision",
    "numpy",
    "PIL",
    "pycocotools",
    "faster_coco_eval",
    "submitit",
    "requests",
    "jinja2",
)

PROBE = f"""
import sys
from harness.cli.main import run
try:
    code = run(sys.argv[1:])
except SystemExit as leaving:
    code = leaving.code
sys.stderr.write("loaded: " + " ".join(n for n in {HEAVY!r} if n in sys.modules) + "\\n")
sys.exit(code)
"""


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["eval", "--help"], ["models"]])
def test_starts_without_heavy_packages(argv: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *argv], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert done.stderr.splitlines()[-1].split() == ["loaded:"]


#: What inference must not wait for: torchvision's models, and torch's compiler.
SLOW_FOR_INFERENCE = ("torchvision", "torch._dynamo", "sympy", "triton")

INFER = f"""
import sys
import numpy as np
import harness
with harness.load_model(device="cpu") as model:
    assert model.info.engine.name == "native"
    model.predict(np.zeros((64, 64, 3), np.uint8), channel_order="BGR")
print([name for name in {SLOW_FOR_INFERENCE!r} if name in sys.modules])
"""


SERVED = """
import os, sys, threading
import harness.workflows.benchmark.sweep_cell
import harness.workflows.evaluation.workers
from harness.core.engine import ENGINE_NAMES
from harness.engines.opening import modules_of
for name in ENGINE_NAMES:
    for module in modules_of(name, "cuda"):
        __import__(module)
import torch
own = len(os.listdir("/proc/self/task")) if sys.platform == "linux" else threading.active_count()
print(own, torch.cuda.is_initialized())
"""


@pytest.mark.slow
def test_what_a_server_of_processes_imports_can_be_copied() -> None:
    """A copy has only the thread that made it, and none of the contexts of a GPU."""
    done = subprocess.run(
        [sys.executable, "-c", SERVED], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == ["1", "False"], done.stderr


def test_inference_starts_without_models_and_compiler() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INFER], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
