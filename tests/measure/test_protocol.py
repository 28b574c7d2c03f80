"""What makes a number not comparable is named, one sentence each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.core.architecture import PROTOCOL_FIELDS, Architecture
from harness.measure.verdict import HARM, Conditions, deviations

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
