"""Training losses and gradients against numbers recorded from Detectron2 (tests/golden).

The whole network is slow; at every step a narrow one is compared in the same losses and more
(``test_semantic_losses``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.golden.cases import read_golden
from tests.golden.losses import CASE, detectron2_losses, native_losses

RELATIVE = 1e-4

#: Of single elements, in units of the gradient's norm: an activation that is zero to the last bit
#: may fall on either side of a ReLU, which lets a path's gradient through or not.
ELEMENT = 1e-5


@pytest.fixture(scope="module")
def native() -> dict[str, Any]:
    return native_losses()


@pytest.mark.slow
def test_losses_equal_the_recorded_ones(native: dict[str, Any]) -> None:
    expected = read_golden(CASE)["losses"]
    assert native["losses"].keys() == expected.keys()
    assert native["losses"] == pytest.approx(expected, rel=RELATIVE, abs=0)


@pytest.mark.slow
def test_statistics_equal_the_recorded_ones(native: dict[str, Any]) -> None:
    expected = read_golden(CASE)["statistics"]
    assert native["statistics"].keys() == expected.keys()
    assert native["statistics"] == pytest.approx(expected, rel=RELATIVE, abs=1e-6)


@pytest.mark.slow
def test_gradients_equal_the_recorded_ones(native: dict[str, Any]) -> None:
    expected = read_golden(CASE)["gradients"]
    for name, values in expected.items():
        *elements, norm = values
        *found, found_norm = native["gradients"][name]
        assert found_norm == pytest.approx(norm, rel=RELATIVE), name
        assert np.abs(np.subtract(found, elements)).max() <= ELEMENT * norm, name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_losses_equal_the_installed_detectron2(native: dict[str, Any]) -> None:
    pytest.importorskip("detectron2", reason="Detectron2 is not installed")
    expected = detectron2_losses()
    assert native["losses"] == pytest.approx(expected["losses"], rel=RELATIVE, abs=0)


def test_the_recorded_losses_are_worth_comparing() -> None:
    golden = read_golden(CASE)
    assert all(value > 1e-5 for value in golden["losses"].values())
    assert golden["statistics"]["roi_head/num_fg_samples"] > 8
    assert torch.isfinite(torch.tensor(list(golden["statistics"].values()))).all()
