"""Masks of many rows are checked in blocks, and no one sees where these begin."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.core.rle_text import spell, without_empty
from harness.data import shapes
from harness.data.shapes import Masks

#: Texts of 12 px: canonical, with an empty run, with a needless character, too short, and no runs.
RUNS = ([12], [3, 4, 5], [2, 0, 3, 7], [0, 5, 7])
TEXTS = [*map(spell, RUNS), spell([12])[:-1] + chr(ord(spell([12])) + 32) + "0", spell([5]), "~"]


def checked(texts: list[str]) -> tuple[Any, list[str]]:
    """The first fault of some masks, and their texts afterwards."""
    masks = Masks()
    rows = [{"segmentation": {"size": [3, 4], "counts": text}} for text in texts]
    for position, row in enumerate(rows):
        assert masks.fault(position, row, 3, 4) is None
    return masks.text_fault(), [row["segmentation"]["counts"] for row in rows]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(TEXTS), max_size=12), st.integers(1, 12))
def test_the_first_fault_and_the_spelling_are_the_same(
    monkeypatch: pytest.MonkeyPatch, texts: list[str], characters: int
) -> None:
    whole = checked(texts)
    with monkeypatch.context() as patch:
        patch.setattr(shapes, "BLOCK_CHARACTERS", characters)
        blocks = checked(texts)
    assert blocks[0] == whole[0]
    if whole[0] is None:
        assert blocks[1] == whole[1]
        assert spell([2, 0, 3, 7]) not in whole[1]
        assert whole[1].count(spell(without_empty([2, 0, 3, 7]))) >= texts.count(TEXTS[2])
