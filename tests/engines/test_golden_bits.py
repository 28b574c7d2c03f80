"""``--exact`` has the bits that were recorded from Detectron2, where that is not installed.

Both were computed with kernels that depend on the processor as little as can be; where an operator
of torch by itself has other bits than recorded, the tests skip (``tests.golden.bits``).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.golden.bits import NUDGED
from tests.golden.cases import read_golden

GOLDEN = read_golden("bits")

#: At every step; the others have parts of their own and are slow together.
QUICK = ("tiny", "small_retinanet")
OTHERS = tuple(name for name in GOLDEN["networks"] if name not in QUICK)


def computed(repository: Path, *names: str) -> dict[str, Any]:
    """Digests by network, stage or part of the detections, from a process of its own."""
    answer = subprocess.run(
        [sys.executable, "-m", "tests.golden.bits", *names],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    recorded = GOLDEN["arithmetic"]
    if other := [one for one in recorded if found["arithmetic"].get(one) != recorded[one]]:
        pytest.skip(f"torch's own operators compute otherwise here than recorded: {other}")
    networks: dict[str, Any] = found["networks"]
    return networks


def test_exact_has_the_recorded_bits(repository: Path) -> None:
    found = computed(repository, *QUICK, NUDGED)
    for name in QUICK:
        assert found[name] == GOLDEN["networks"][name], name
    # The last bit of one weight is seen.
    recorded = GOLDEN["networks"]["tiny"]
    assert [one for one in recorded if found[NUDGED][one] != recorded[one]] == ["box logits"]


@pytest.mark.slow
def test_exact_has_the_recorded_bits_of_every_family(repository: Path) -> None:
    found = computed(repository, *OTHERS)
    for name in OTHERS:
        assert found[name] == GOLDEN["networks"][name], name
