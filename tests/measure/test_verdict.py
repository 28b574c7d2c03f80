"""Rows and sentences of a verdict; what makes a number not comparable is named, a sentence each."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.architecture import PROTOCOL_FIELDS, Architecture
from harness.core.checks import Check, Reference, Status, Tolerance
from harness.core.errors import IntegrityError
from harness.files.json import to_typed
from harness.measure.verdict import (
    HARM,
    Conditions,
    check_references,
    conclude,
    deviations,
    unreferenced,
)

TENTH = Tolerance(below=0.1, above=0.1, source="rounding")
BOX = Reference(metric="bbox/AP", value=38.6, tolerance=TENTH, dataset="coco", source="zoo")
MASK = Reference(metric="segm/AP", value=35.2, tolerance=TENTH, dataset="coco", source="zoo")
SPEED = Reference(
    metric="s_per_image",
    value=0.043,
    tolerance=Tolerance(below=None, above=0.0043, source="chosen"),
    device_class="Tesla V100",
    source="zoo",
)
INFORMATIONAL = Reference(
    metric="bbox/AP", value=38.66, tolerance=None, role="independent", source="other"
)


def statuses(measured: dict[str, float | None], **options: object) -> list[Status]:
    given = {"dataset": "coco", "deviations": (), **options}
    rows = check_references((BOX, MASK, SPEED, INFORMATIONAL), measured, **given)  # type: ignore[arg-type]
    return [row.status for row in rows]


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (38.6, Status.PASS),
        (38.5, Status.PASS),
        (38.7, Status.PASS),
        (38.49, Status.FAIL),
        (38.71, Status.FAIL),  # too good is wrong as well
        (None, Status.MISSING),
    ],
)
def test_an_accuracy_is_judged_on_both_sides(value: float | None, status: Status) -> None:
    assert statuses({"bbox/AP": value}) == [status, Status.INFORMATIONAL]


@given(st.floats(0, 100))
def test_a_pass_means_within_the_tolerance(value: float) -> None:
    (row,) = check_references((BOX,), {"bbox/AP": value}, dataset="coco", deviations=())
    assert (row.status is Status.PASS) == (abs(value - 38.6) <= 0.1 + 1e-9)
    assert row.delta == pytest.approx(value - 38.6)


def test_a_deviation_takes_the_judgement_away() -> None:
    found = check_references(
        (BOX,), {"bbox/AP": 38.6}, dataset="coco", deviations=("batch size is 2",)
    )
    assert [row.status for row in found] == [Status.NOT_COMPARABLE]
    assert found[0].reason == "batch size is 2"


def test_a_speed_is_judged_on_its_own_device_only_and_may_be_faster() -> None:
    assert statuses({"s_per_image": 0.02}, device_class="Tesla V100") == [Status.PASS]
    assert statuses({"s_per_image": 0.05}, device_class="Tesla V100") == [Status.FAIL]
    assert statuses({"s_per_image": 0.02}, device_class="H200") == [Status.NOT_COMPARABLE]
    assert statuses({"s_per_image": 0.02}) == [Status.NOT_COMPARABLE]


def test_other_data_sets_and_unmeasured_metrics_have_no_row() -> None:
    assert statuses({"bbox/AP": 38.6}, dataset="mine") == [Status.INFORMATIONAL]
    assert statuses({}) == []


def test_what_has_no_reference_says_so() -> None:
    (row,) = unreferenced(["bbox/AP", "segm/AP"], {"bbox/AP": 1.0}, ())
    assert (row.metric, row.status) == ("bbox/AP", Status.NO_REFERENCE)


def conclusion(measured: dict[str, float | None], **options: bool) -> tuple[str, str]:
    rows = check_references((BOX, MASK), measured, dataset="coco", deviations=())
    verdict = conclude(rows, **options)
    return verdict.outcome, verdict.line


def test_the_sentence_says_what_passed() -> None:
    outcome, line = conclusion({"bbox/AP": 38.63, "segm/AP": 35.21})
    assert outcome == "pass"
    assert line == (
        "REPRODUCED: box AP 38.63 (reference 38.60, allowed ±0.1), "
        "mask AP 35.21 (reference 35.20, allowed ±0.1)"
    )


def test_the_sentence_says_by_how_much_it_failed() -> None:
    outcome, line = conclusion({"bbox/AP": 38.63, "segm/AP": 34.0})
    assert outcome == "fail"
    assert line == "NOT REPRODUCED: mask AP 34.00 is 1.20 below 35.20 (allowed ±0.1)"
    assert conclusion({"bbox/AP": None})[1].startswith("NOT REPRODUCED: box AP is missing")


def test_nothing_to_compare_fails_only_when_asked() -> None:
    assert conclusion({})[0] == "nothing-to-compare"
    assert conclusion({}, require_reference=True)[0] == "fail"
    rows = check_references((BOX,), {"bbox/AP": 1.0}, dataset="coco", deviations=("a subset",))
    assert conclude(rows).line == "NOT COMPARABLE: a subset"


PUBLISHED = Architecture()
GOOD = Conditions(
    architecture=PUBLISHED,
    precision="fp32",
    batch_size=1,
    pinned_weights=True,
    evaluated_images=5000,
    image_count=5000,
)


def test_the_protocol_itself_deviates_in_nothing() -> None:
    assert deviations(GOOD, PUBLISHED) == ()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"precision": "tf32"}, "precision is tf32"),
        ({"precision": "bf16"}, "precision is bf16"),
        ({"batch_size": 4}, "batch size is 4"),
        ({"pinned_weights": False}, "not the pinned one"),
        ({"evaluated_images": 100}, "only 100 of 5000 images"),
    ],
)
def test_each_condition_is_named(change: dict[str, object], told: str) -> None:
    (sentence,) = deviations(replace(GOOD, **change), PUBLISHED)  # type: ignore[arg-type]
    assert told in sentence


@pytest.mark.parametrize("field", PROTOCOL_FIELDS)
def test_each_field_of_the_recipe_is_named_with_its_harm(field: str) -> None:
    value = getattr(PUBLISHED, field)
    other = "RGB" if value == "BGR" else value * 2
    changed = replace(GOOD, architecture=replace(PUBLISHED, **{field: other}))
    (sentence,) = deviations(changed, PUBLISHED)
    assert sentence.startswith(f"{field} is {other}, the protocol says {value}: ")
    assert HARM[field] in sentence


def test_several_deviations_are_all_named() -> None:
    worse = replace(GOOD, precision="fp16", batch_size=8, evaluated_images=1)
    assert len(deviations(worse, PUBLISHED)) == 3


def test_what_older_records_call_shown_is_informational() -> None:
    """Records are kept for years: the former name of the status is still read."""
    plain = {"metric": "bbox/AP", "measured": 38.7, "reference": None, "delta": None}
    assert (
        to_typed(Check, {**plain, "status": "shown"}, where="record").status is Status.INFORMATIONAL
    )
    with pytest.raises(IntegrityError, match="status"):
        to_typed(Check, {**plain, "status": "show"}, where="record")
