"""What ``harness parity`` says of a fast proof."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace

import pytest

from harness.cli.parity import MANY_IMAGES, MOST_SHOWN, print_proofs
from harness.engines.parity.case import Difference
from harness.engines.parity.rounding import FastProof
from harness.engines.parity.tracing import StageDistance
from harness.workflows.parity import ParityProofs


def stage(ratio: float | None) -> StageDistance:
    ok = ratio is not None and ratio <= 2
    return StageDistance(stage="p2", ours=3e-6, reference=1e-6, ratio=ratio, ok=ok)


def proof(
    *, images: int = 1, ratio: float | None = 1.0, differences: tuple[Difference, ...] = ()
) -> FastProof:
    row = stage(ratio)
    return FastProof(
        images=images,
        detections=20,
        stages=(row,),
        differences=differences,
        explained={},
        unexplained=len(differences),
        ok=row.ok and not differences,
    )


def said(found: FastProof, capsys: pytest.CaptureFixture[str]) -> str:
    proofs = ParityProofs(engine="native", against="float64", exact=None, fast=found, ok=found.ok)
    print_proofs(proofs, Namespace(format="plain"))
    return capsys.readouterr().out


def test_differences_without_a_decision_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    whole = Difference(
        image_id=139, what="not as replayed", class_index=0, score=None, decision=None
    )
    one = Difference(image_id=285, what="only ours", class_index=7, score=0.25, decision=None)
    text = said(proof(differences=(whole, *(one,) * 20)), capsys)
    assert ["139", "not", "as", "replayed"] in [line.split() for line in text.splitlines()]
    assert text.count("only ours") == MOST_SHOWN - 1
    assert "0.250000" in text
    assert "21 differences from the reference, unexplained: 21" in text
    assert "chance" not in text


@pytest.mark.parametrize(("images", "is_chance"), [(1, True), (MANY_IMAGES, False)])
def test_a_stage_beyond_its_limit_over_few_images_may_be_chance(
    images: int, is_chance: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(proof(images=images, ratio=2.5), capsys)
    assert "the first stage too far from float64: p2" in text
    assert ("can be chance: give more" in text) == is_chance


def test_numbers_that_are_not_finite_are_no_chance(capsys: pytest.CaptureFixture[str]) -> None:
    row = StageDistance(stage="p2", ours=None, reference=1e-6, ratio=None, ok=False)
    text = said(replace(proof(ratio=2.5), stages=(row,)), capsys)
    assert "the first stage with numbers that are not finite: p2" in text
    assert "chance" not in text
    assert "–" in text


def test_a_reference_without_rounding_has_no_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    assert "–" in said(proof(ratio=None), capsys)
