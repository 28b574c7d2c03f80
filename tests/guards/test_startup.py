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
