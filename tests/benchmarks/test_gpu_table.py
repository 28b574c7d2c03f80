"""The table of a GPU's measurements, from files that were measured."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.gpu_table import table
from tests.conftest import REPOSITORY


def measured(card: str) -> dict[str, Any]:
    path = REPOSITORY / "benchmarks" / "results" / f"gpu-R_50-{card}.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


@pytest.mark.parametrize("card", ["h100", "h200"])
def test_each_part_has_a_row(card: str) -> None:
    whole = measured(card)
    text = table(whole)
    for part in ("throughput", "evaluation"):
        names = [name for name, one in whole[part].items() if isinstance(one, dict)]
        assert names
        assert [name for name in names if f"{name} | " not in text] == []
    assert "| fp32, resized image to encoded detections | 19." in text
    assert "| peak memory of an image, fp16 | 0.26 GiB |" in text
    assert (
        f"| training iteration of 16 images, fp32 | {whole['training']['median_s']['fp32']:.3f} s"
        in text
    )
    assert "| marked_tests | skipped: no time left |" in text


def test_what_is_not_proven_and_not_the_same_says_so() -> None:
    whole = measured("h100")
    whole["proofs"]["fast fp16, seeded"]["ok"] = False
    whole["identity"]["fp16"]["without graphs"] = False
    whole["sweep"] = {"exit_code": 5, "took_s": 31.04}
    text = table(whole)
    assert "| proof: fast fp16, seeded | 200 detections, 105 differ: NOT PROVEN |" in text
    assert "| the same bytes, fp16 | not without graphs |" in text
    assert "| sweep | 31.0 s, exit code 5 |" in text
    assert text.count("NOT PROVEN") == 1
