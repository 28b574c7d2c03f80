"""The bootstrap's AP is COCOeval's own, and its intervals tell noise from a change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data.coco import read_annotations
from harness.measure.bootstrap import (
    LEAST_IMAGES,
    Difference,
    Interval,
    benjamini_hochberg,
    compare_paired,
    differences_of,
    intervals_of,
)
from harness.measure.coco import score, with_intervals
from harness.measure.evaluators import Task
from harness.measure.greedy import SIZES
from harness.measure.resampling import (
    Matches,
    average_precisions,
    effective_images,
    influences_of,
    matches_by_size,
    matches_of,
    spread_of,
)
from tests.measure.test_coco import shaken


@pytest.fixture(scope="module")
def annotations(embedded_folder: Path) -> dict[str, Any]:
    return read_annotations(embedded_folder / "annotations.json")


@pytest.fixture(scope="module")
def image_ids(annotations: dict[str, Any]) -> list[int]:
    return sorted(image["id"] for image in annotations["images"])


@pytest.mark.parametrize("task", ["bbox", "segm"])
def test_equal_weights_give_the_evaluators_ap(
    annotations: dict[str, Any], image_ids: list[int], task: Task
) -> None:
    predictions = shaken(annotations, 11)
    expected = score(annotations, predictions, tasks=[task], image_ids=image_ids).metrics
    matches = matches_of(annotations, predictions, task, image_ids)
    found = average_precisions(matches, np.ones((1, len(image_ids))))[0]
    assert found.mean() == pytest.approx(expected[f"{task}/AP"], abs=1e-9)
    assert found[0] == pytest.approx(expected[f"{task}/AP50"], abs=1e-9)
    assert found[5] == pytest.approx(expected[f"{task}/AP75"], abs=1e-9)


def test_a_weight_of_two_is_an_image_that_is_there_twice(
    annotations: dict[str, Any], image_ids: list[int]
) -> None:
    predictions = shaken(annotations, 12)
    matches = matches_of(annotations, predictions, "bbox", image_ids)
    weights = np.ones(len(image_ids))
    weights[:5], weights[5:9] = 2, 0
    twice = {**annotations, "images": list(annotations["images"])}
    twice["annotations"] = list(annotations["annotations"])
    rows = [row for row in predictions if row["image_id"] not in image_ids[5:9]]
    for identifier in image_ids[:5]:
        copied = 10_000 + identifier
        image = next(one for one in annotations["images"] if one["id"] == identifier)
        twice["images"].append({**image, "id": copied})
        for row in annotations["annotations"]:
            if row["image_id"] == identifier:
                number = 10_000 + row["id"]
                twice["annotations"].append({**row, "id": number, "image_id": copied})
        rows += [
            {**row, "image_id": copied} for row in predictions if row["image_id"] == identifier
        ]
    ids = [one["id"] for one in twice["images"] if one["id"] not in image_ids[5:9]]
    expected = score(twice, rows, tasks=["bbox"], image_ids=ids).metrics["bbox/AP"]
    found = float(average_precisions(matches, weights[None])[0].mean())
    # Only the order of equal scores may differ.
    assert found == pytest.approx(expected, abs=0.3)


def paired(
    annotations: dict[str, Any],
    image_ids: list[int],
    first: list[dict[str, Any]],
    second: list[dict[str, Any]],
) -> Interval:
    matches = [matches_of(annotations, rows, "bbox", image_ids) for rows in (first, second)]
    told: list[int] = []
    found = compare_paired(
        matches[0], matches[1], images=len(image_ids), resamples=100, seed=1, advance=told.append
    )
    assert sum(told) == 100
    return found["AP"]


def test_the_same_predictions_differ_by_nothing(
    annotations: dict[str, Any], image_ids: list[int]
) -> None:
    rows = shaken(annotations, 13)
    interval = paired(annotations, image_ids, rows, rows)
    assert (interval.difference, interval.low, interval.high) == (0, 0, 0)


def test_a_few_lost_detections_are_noise_and_a_quarter_is_not(
    annotations: dict[str, Any], image_ids: list[int]
) -> None:
    rows = shaken(annotations, 14)
    few = paired(annotations, image_ids, rows, [row for n, row in enumerate(rows) if n % 97 != 3])
    many = paired(annotations, image_ids, rows, [row for n, row in enumerate(rows) if n % 4])
    assert many.difference < few.difference <= 0.5
    assert many.high < 0


def test_no_detections_at_all_are_zero(annotations: dict[str, Any], image_ids: list[int]) -> None:
    matches = matches_of(annotations, [], "bbox", image_ids)
    assert average_precisions(matches, np.ones((2, len(image_ids)))).tolist() == [[0.0] * 10] * 2


@pytest.mark.parametrize("task", ["bbox", "segm"])
def test_every_size_class_is_the_evaluators(
    annotations: dict[str, Any], image_ids: list[int], task: Task
) -> None:
    predictions = shaken(annotations, 15)
    expected = score(annotations, predictions, tasks=[task], image_ids=image_ids).metrics
    found = matches_by_size(annotations, predictions, task, image_ids)
    assert list(found) == list(SIZES)
    for size, name in (("small", "APs"), ("medium", "APm"), ("large", "APl")):
        value = float(average_precisions(found[size], np.ones((1, len(image_ids)))).mean())
        assert value == pytest.approx(expected[f"{task}/{name}"], abs=1e-9, nan_ok=True)


def test_the_interval_is_around_what_was_measured(
    annotations: dict[str, Any], image_ids: list[int]
) -> None:
    rows = shaken(annotations, 16)
    scores = score(annotations, rows, tasks=["bbox", "segm"], image_ids=image_ids)
    tasks: tuple[Task, ...] = ("bbox", "segm")
    sure = with_intervals(scores, annotations, rows, tasks=tasks, image_ids=image_ids, resamples=60)
    assert sure.metrics == scores.metrics
    for name in ("bbox/AP", "bbox/AP50", "segm/AP75", "segm/APm"):
        found, value = sure.intervals[name], scores.metrics[name]
        assert value is not None
        assert 0 <= found.low < value < found.high <= 100
        assert found.detectable > found.high - value
    widths = [one.interval for one in sure.per_category if one.interval is not None]
    assert len(widths) > 1
    assert all(row.interval is None for row in sure.per_category if row.ap is None)


def test_twice_the_images_give_a_narrower_interval(
    annotations: dict[str, Any], image_ids: list[int]
) -> None:
    rows = shaken(annotations, 17)
    errors = []
    for count in (len(image_ids) // 4, len(image_ids)):
        found = intervals_of(
            matches_by_size(annotations, rows, "bbox", image_ids[:count]),
            images=count,
            resamples=100,
        )
        errors.append(found.metrics["AP"].standard_error)
    assert errors[1] < errors[0]


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_change_no_digit(
    annotations: dict[str, Any], image_ids: list[int], threads: int
) -> None:
    matches = matches_by_size(annotations, shaken(annotations, 18), "bbox", image_ids)
    few = intervals_of(matches, images=len(image_ids), resamples=120, threads=threads)
    assert few == intervals_of(matches, images=len(image_ids), resamples=120, threads=2)


def test_what_has_no_objects_has_no_interval(
    annotations: dict[str, Any], image_ids: list[int]
) -> None:
    empty = {**annotations, "annotations": []}
    matches = matches_by_size(empty, shaken(annotations, 19), "bbox", image_ids)
    found = intervals_of(matches, images=len(image_ids), resamples=20)
    assert found.metrics == {}
    assert found.categories == {}


def test_too_few_images_have_no_interval_and_no_sure_difference(
    annotations: dict[str, Any], image_ids: list[int]
) -> None:
    rows = shaken(annotations, 21)
    few = image_ids[:LEAST_IMAGES]
    for count in (1, LEAST_IMAGES - 1):
        matches = matches_by_size(annotations, rows, "bbox", few[:count])
        assert intervals_of(matches, images=count, resamples=20).metrics == {}
        nothing = matches_by_size(annotations, [], "bbox", few[:count])
        found = differences_of(
            nothing, matches, images=count, resamples=20, seed=2, advance=lambda _: None
        )
        assert {one.word for one in found.metrics.values()} == {"noise"}
        if count == 1:
            assert found.metrics["AP"].meaning == "noise in so few images"
    with_objects = {row["image_id"] for row in annotations["annotations"]}
    enough = [one for one in image_ids if one in with_objects][:LEAST_IMAGES]
    matches = matches_by_size(annotations, rows, "bbox", enough)
    assert "AP" in intervals_of(matches, images=len(enough), resamples=20).metrics


def test_what_no_draw_changes_has_no_interval(
    annotations: dict[str, Any], image_ids: list[int]
) -> None:
    matches = matches_by_size(annotations, [], "bbox", image_ids)
    assert intervals_of(matches, images=len(image_ids), resamples=20).metrics == {}


def test_what_every_draw_says_is_no_noise(
    annotations: dict[str, Any], image_ids: list[int]
) -> None:
    perfect = [{**row, "score": 0.9} for row in annotations["annotations"] if not row["iscrowd"]]
    sides = [
        matches_by_size(annotations, rows, "bbox", image_ids)  # type: ignore[arg-type]
        for rows in ([], perfect)
    ]
    found = differences_of(
        *sides, images=len(image_ids), resamples=20, seed=2, advance=lambda _: None
    )
    assert found.metrics["AP"].difference == pytest.approx(100)
    assert {one.meaning for one in found.metrics.values()} == {"better"}
    assert {one.meaning for one in found.categories.values()} == {"better"}


def test_p_values_are_adjusted_as_benjamini_and_hochberg_did() -> None:
    # Their example of 1995: the four smallest of fifteen are found at a rate of 5 %.
    ps = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344]
    ps += [0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000]
    adjusted = benjamini_hochberg(ps[::-1])[::-1]
    assert [one <= 0.05 for one in adjusted] == [True] * 4 + [False] * 11
    assert adjusted[3] == pytest.approx(0.0095 * 15 / 4)
    assert adjusted == sorted(adjusted)
    assert benjamini_hochberg([]) == []


def test_sizes_and_categories_are_one_family_and_an_improvement_is_better(
    annotations: dict[str, Any], image_ids: list[int]
) -> None:
    rows = shaken(annotations, 20)
    fewer = [row for number, row in enumerate(rows) if number % 4]
    sides = [matches_by_size(annotations, one, "bbox", image_ids) for one in (fewer, rows)]
    found = differences_of(
        *sides, images=len(image_ids), resamples=60, seed=2, advance=lambda _: None
    )
    assert found.metrics["AP"].word == "better"
    assert found.metrics["AP"].adjusted_p is None
    family = [found.metrics["APm"], *found.categories.values()]
    assert all(one.p is not None and one.adjusted_p is not None for one in family)
    assert all(one.p <= one.adjusted_p for one in family)  # type: ignore[operator]
    back = differences_of(
        *sides[::-1], images=len(image_ids), resamples=60, seed=2, advance=lambda _: None
    )
    assert back.metrics["AP"].word == "worse"
    same = differences_of(
        sides[0], sides[0], images=len(image_ids), resamples=60, seed=2, advance=lambda _: None
    )
    assert {one.word for one in (*same.metrics.values(), *same.categories.values())} == {"noise"}


@pytest.mark.parametrize("name", ["AP", "AP50", "APm"])
def test_influences_are_what_a_little_more_of_an_image_changes(
    annotations: dict[str, Any], image_ids: list[int], name: str
) -> None:
    # Many objects: COCO's recall levels then are nearly the area that is derived.
    rows = shaken(annotations, 22)
    matches = {
        size: [one for one in by_category if len(one.objects) > 15]
        for size, by_category in matches_by_size(annotations, rows, "bbox", image_ids).items()
    }
    influence = influences_of(matches, len(image_ids)).of_weight[name]
    assert abs(influence.sum()) < 1e-6  # as many of each image change nothing
    random = np.random.default_rng(3)
    changes = []
    for _ in range(8):
        weights = 1 + 0.1 * random.normal(size=(1, len(image_ids)))
        size = {"APm": "medium"}.get(name, "all")
        before = average_precisions(matches[size], np.ones_like(weights))
        change = average_precisions(matches[size], weights) - before
        found = change[0, 0] if name == "AP50" else change.mean()
        changes.append((found, float((weights - 1)[0] @ influence)))
    exact, linear = np.array(changes).T
    assert np.corrcoef(exact, linear)[0, 1] > 0.9


def test_draws_add_to_what_is_known_without_them() -> None:
    random = np.random.default_rng(4)
    influence = random.normal(size=500)
    exact = float(((influence - influence.mean()) ** 2).sum()) ** 0.5
    errors = []
    for _ in range(20):
        weights = random.multinomial(500, np.full(500, 1 / 500), size=50)
        sums = weights @ influence
        found = spread_of(sums + 0.2 * random.normal(size=50), sums, influence)
        assert found is not None
        errors.append(found.error)
    assert np.mean(errors) == pytest.approx(exact, rel=0.01)
    assert np.std(errors) < 0.01 * exact  # 50 draws alone know it to 10 %


def test_a_number_that_few_images_carry_has_a_wider_interval() -> None:
    random = np.random.default_rng(5)
    even, few = np.tile([1.0, -1.0], 100), np.zeros(200)
    few[:6] = [1, -1] * 3
    assert effective_images(even) == pytest.approx(200)
    assert effective_images(few) == pytest.approx(6)
    widths = []
    for influence in (even, few):
        sums = random.multinomial(200, np.full(200, 1 / 200), size=100) @ influence
        found = spread_of(sums, sums, influence)
        assert found is not None
        widths.append(found.width)
    assert widths[0] == pytest.approx(1.972, abs=1e-3)  # Student's, 199 degrees of freedom
    assert widths[1] == pytest.approx(2.571, abs=1e-3)  # 5
    assert spread_of(np.full(9, 3.0), np.zeros(9), np.zeros(200)) is None


def test_intervals_of_rare_categories_are_as_wide_as_those_of_a_mean() -> None:
    """With one object an image AP is the mean of found or not, whose variance is known."""
    random = np.random.default_rng(6)
    objects = 12
    errors = []
    for _ in range(300):
        hit = random.random(objects) < 0.6
        own = Matches(
            np.ones((10, hit.sum()), bool),
            np.ones((10, hit.sum()), bool),
            np.flatnonzero(hit),
            np.arange(objects),
        )
        influences = influences_of({"all": [own]}, objects)
        errors.append(influences.corrected["AP"].var() * objects)
    exact = 100**2 * 0.6 * 0.4 / objects
    assert np.mean(errors) == pytest.approx(exact, rel=0.05)  # else too small by a twelfth


def test_what_is_noise_among_many_only_says_so() -> None:
    alone = Difference(difference=1.0, low=0.2, high=1.8, p=0.02)
    among = replace(alone, adjusted_p=0.3)
    assert (alone.meaning, among.meaning) == ("better", "noise among so many")
    assert (among.word, replace(among, low=-0.1).meaning) == ("noise", "noise")
