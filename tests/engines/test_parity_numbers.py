"""What a proof says of an image as a whole can be written as JSON."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness.engines.parity import case
from harness.files.json import dumps, to_plain


@pytest.mark.parametrize("score", [0.5, math.nan])
def test_a_difference_without_a_score_has_none(
    score: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(case, "pair_side", lambda _: SimpleNamespace(score=lambda _: score))
    image: Any = SimpleNamespace(
        reference=SimpleNamespace(scores=torch.zeros((3, 8))),
        ours=None,
        image=SimpleNamespace(image_id=7),
    )
    kinds = [one for one in vars(case).values() if hasattr(one, "difference")]
    assert len(kinds) == 1
    found = kinds[0].difference(image, 0, "not as replayed", None)
    assert found.score == (None if math.isnan(score) else score)
    assert '"what":"not as replayed"' in dumps(to_plain(found))
