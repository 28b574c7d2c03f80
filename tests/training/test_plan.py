"""Schedules scaled to other hardware, and what the user is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import UsageError
from harness.core.requests.training import Optimiser, ScheduleConfig
from harness.training.plan import (
    Plan,
    Schedule,
    evaluation_period,
    make_plan,
    published_schedule,
)
from harness.zoo.lock import find_model, read_lock


def planned(published: Schedule, optimiser: Optimiser = "sgd", **asked: Any) -> Plan:
    return make_plan(published, ScheduleConfig(**asked), optimiser)


@pytest.fixture(scope="module")
def published() -> Schedule:
    recipe = find_model(read_lock(), "R_50_FPN_1x").recipe
    assert recipe is not None
    return published_schedule(recipe)


def test_the_recipe_itself_is_unchanged(published: Schedule) -> None:
    plan = planned(published)
    assert plan.schedule == published
    assert plan.warnings == ()
    assert plan.share_of_published == 1.0


def test_a_quarter_of_the_batch_scales_everything(published: Schedule) -> None:
    plan = planned(published, batch_size=4)
    assert plan.schedule == Schedule(
        iterations=360_000,
        batch_size=4,
        learning_rate=0.005,
        steps=(240_000, 320_000),
        warmup=4000,
        checkpoint_period=20_000,
    )
    assert plan.warnings == ()


@given(batch=st.integers(1, 256))
def test_any_batch_sees_the_same_images(published: Schedule, batch: int) -> None:
    schedule = planned(published, batch_size=batch).schedule
    assert schedule.images_seen == pytest.approx(published.images_seen, abs=batch)
    assert schedule.learning_rate / batch == pytest.approx(0.02 / 16)
    assert 0 < schedule.warmup < schedule.steps[0] < schedule.steps[1] < schedule.iterations


def test_iterations_without_a_batch_are_named_with_their_share(published: Schedule) -> None:
    # One image at a time and an unchanged count trains a sixteenth of the schedule.
    plan = planned(published, batch_size=2, iterations=90_000)
    assert plan.share_of_published == pytest.approx(1 / 8)
    (warning,) = plan.warnings
    assert "0.125 of the published schedule" in warning
    assert "--iterations 720000" in warning


def test_a_rate_that_does_not_fit_its_batch_is_named(published: Schedule) -> None:
    (warning,) = planned(published, batch_size=2, learning_rate=0.02).warnings
    assert "8 times the rate" in warning
    assert "0.0025" in warning


@pytest.mark.parametrize("name", ["batch_size", "iterations", "learning_rate"])
@pytest.mark.parametrize("value", [0, -1])
def test_what_is_not_above_zero_is_refused(published: Schedule, name: str, value: int) -> None:
    with pytest.raises(UsageError, match="must be above 0"):
        planned(published, **{name: value})


def test_rates_follow_warm_up_and_steps(published: Schedule) -> None:
    # detectron2/solver/lr_scheduler.py: linear from a thousandth, then a tenth at each step.
    assert published.rate_at(0) == pytest.approx(0.02 * 0.001)
    assert published.rate_at(500) == pytest.approx(0.02 * (0.001 * 0.5 + 0.5))
    assert published.rate_at(1000) == 0.02
    assert published.rate_at(59_999) == 0.02
    assert published.rate_at(60_000) == pytest.approx(0.002)
    assert published.rate_at(80_000) == pytest.approx(0.0002)


def test_named_schedules_are_the_zoos() -> None:
    recipe = find_model(read_lock(), "R_50_FPN_1x").recipe
    assert recipe is not None
    longer = published_schedule(recipe, "3x")
    assert (longer.iterations, longer.steps) == (270_000, (210_000, 250_000))


def test_a_short_run_does_not_end_inside_its_warm_up(published: Schedule) -> None:
    schedule = planned(published, batch_size=2, iterations=300, learning_rate=0.00025).schedule
    assert schedule.warmup == 30
    assert schedule.rate_at(200) == pytest.approx(0.00025 * 0.1)
    assert schedule.rate_at(100) == 0.00025


def test_ones_own_images_have_no_published_length(published: Schedule) -> None:
    asked = ScheduleConfig(epochs=10, batch_size=2, learning_rate=0.00025)
    plan = make_plan(published, asked, image_count=57, own_data=True)
    assert plan.schedule.iterations == 285
    assert plan.schedule.checkpoint_period == 100
    assert plan.warnings == ()
    # The recipe's own length is for far more images.
    (warning,) = make_plan(published, ScheduleConfig(), image_count=57, own_data=True).warnings
    assert "--epochs 30" in warning


def test_evaluations_are_ten_and_not_too_close() -> None:
    assert [evaluation_period(count) for count in (12, 300, 1234, 270_000)] == [20, 30, 124, 27_000]


def test_adamw_has_a_rate_of_its_own(published: Schedule) -> None:
    plan = planned(published, batch_size=2, optimiser="adamw")
    assert plan.schedule.learning_rate == pytest.approx(1e-4 / 8)
    assert plan.warnings == ()
    (warning,) = planned(published, optimiser="adamw", learning_rate=0.02).warnings
    assert "200 times the rate" in warning
    # Its rate is for 16 images, whatever batch SGD's recipe is for.
    small = replace(published, batch_size=8)
    assert planned(small, optimiser="adamw").schedule.learning_rate == pytest.approx(5e-5)
    assert planned(published, optimiser="sgd").schedule.learning_rate == 0.02
