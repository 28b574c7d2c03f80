"""The same on predictions that are made here, for where the real ones are not at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.broken_predictions import FAULTS
from benchmarks.diagnosed_faults import diagnosed, seeded
from harness.data.coco import read_annotations


@pytest.fixture(scope="module")
def annotations(embedded_folder: Path) -> dict[str, Any]:
    return read_annotations(embedded_folder / "annotations.json")


@pytest.mark.parametrize("name", ["xyxy", "yxyx", "centre", "normalised", "scores-in-percent"])
def test_a_fault_is_named_first(annotations: dict[str, Any], name: str) -> None:
    rows = seeded(annotations, 1)
    assert diagnosed(annotations, rows).findings == ()
    found = diagnosed(*FAULTS[name](annotations, rows, np.random.default_rng(3)))
    assert [one.name for one in found.findings][:1] == [name]
