"""Panoptic quality: equal to panopticapi's, and in cases that can be worked out by hand."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core.errors import IntegrityError
from harness.data.panoptic import panoptic_truth, read_ids
from harness.measure.panoptic import Counts, PanopticScores, map_differences, qualities, tally
from harness.workflows.evaluation.panoptic import PanopticFiles, score_panoptic
from tests.golden.cases import read_golden
from tests.golden.panoptic_quality import NAME, ODD_NAME, SIZE, by_panopticapi, write_case

THING, STUFF = {1: "cat"}, {92: "sky"}


def measured(folder: Path, resamples: int = 0) -> PanopticScores:
    """The qualities of a written case."""
    content = json.loads((folder / "truth.json").read_text("utf-8"))
    found = json.loads((folder / "found.json").read_text("utf-8"))["annotations"]
    truth = panoptic_truth(content, folder / "truth.json", folder / "truth", "")
    tallies = [
        tally(
            read_ids(folder / "truth" / row["file_name"], SIZE),
            row["segments_info"],
            read_ids(folder / "found" / answer["file_name"], SIZE),
            answer["segments_info"],
        )
        for row, answer in zip(truth.rows, found, strict=True)
    ]
    things = {one.category_id: one.name for one in truth.things}
    stuff = {one.category_id: one.name for one in truth.stuff}
    return qualities(tallies, things, stuff, resamples=resamples)


def test_qualities_are_panopticapis(tmp_path: Path) -> None:
    write_case(tmp_path)
    require_equal(measured(tmp_path), read_golden(NAME))


def test_qualities_are_those_panopticapi_computes_now(tmp_path: Path) -> None:
    if importlib.util.find_spec("panopticapi") is None:
        pytest.skip("panopticapi is not on the package index; what it gave is in tests/golden")
    write_case(tmp_path)
    require_equal(measured(tmp_path), by_panopticapi(tmp_path))


def of_files(folder: Path) -> tuple[PanopticScores, tuple[str, ...]]:
    """The qualities of a written case as an evaluation has them, and what it says of the files."""
    content = json.loads((folder / "truth.json").read_text("utf-8"))
    truth = panoptic_truth(content, folder / "truth.json", folder / "truth", "")
    files = PanopticFiles(path=folder / "found.json", folder=folder / "found", sums={}, repair="")
    sizes = {row["image_id"]: SIZE for row in truth.rows}
    return score_panoptic(truth, files, sizes, resamples=0)


def test_segments_that_are_not_listed_and_those_without_a_pixel_count_as_in_panopticapi(
    tmp_path: Path,
) -> None:
    write_case(tmp_path, odd=True)
    found, odd = of_files(tmp_path)
    require_equal(found, read_golden(ODD_NAME))
    assert [one.split(" segments ")[0] for one in odd] == ["6", "6"]
    assert "not listed in truth.json" in odd[0]
    assert "without a pixel in the PNG" in odd[1]
    assert read_golden(ODD_NAME) != read_golden(NAME)


def require_equal(found: PanopticScores, expected: Any) -> None:
    parts = {"All": "", "Things": "_th", "Stuff": "_st"}
    assert found.metrics == pytest.approx(
        {
            f"panoptic_seg/{name.upper()}{end}": 100 * expected[part][name]
            for part, end in parts.items()
            for name in ("pq", "sq", "rq")
        },
        abs=1e-9,
    )
    by_category = {str(row.category_id): row.ap for row in found.per_category}
    absent = {"7", "200"}
    assert {one for one, value in by_category.items() if value is None} == absent
    for category, one in expected["per_class"].items():
        assert (by_category[category] or 0.0) == pytest.approx(100 * one["pq"], abs=1e-9)


def test_intervals_hold_the_number(tmp_path: Path) -> None:
    write_case(tmp_path)
    found = measured(tmp_path, resamples=200)
    assert found.intervals.keys() == found.metrics.keys()
    for name, one in found.intervals.items():
        assert one.low < (found.metrics[name] or 0.0) < one.high
    assert found.metrics == measured(tmp_path).metrics


def test_a_difference_of_two_runs_is_that_of_their_numbers() -> None:
    half = [{1: Counts(0.8, 1, 0, 1), 92: Counts(0.9, 1, 0, 0)} for _ in range(9)]
    more = [{1: Counts(0.8, 1, 0, 0), 92: Counts(0.9, 1, int(n == 3), 0)} for n in range(9)]
    found = map_differences(half, more, THING, STUFF, resamples=100).metrics
    numbers = [qualities(one, THING, STUFF).metrics for one in (half, more)]
    for name, one in found.items():
        before, after = (each[f"panoptic_seg/{name}"] or 0.0 for each in numbers)
        assert one.difference == pytest.approx(after - before)
        assert one.low <= one.difference <= one.high
    assert found["PQ_th"].word == "better"
    assert found["PQ_st"].word == "noise"  # one image decides it
    assert found["SQ"].word == "noise"


def scene(*parts: tuple[slice, int]) -> Any:
    """A map of 4 × 10 pixels with a number in each part of its columns."""
    ids = np.zeros((4, 10), dtype=np.int32)
    for columns, number in parts:
        ids[:, columns] = number
    return ids


def rows(*segments: tuple[int, int, int], crowd: int = 0) -> list[dict[str, int]]:
    return [
        {"id": number, "category_id": category, "area": area, "iscrowd": crowd}
        for number, category, area in segments
    ]


def test_pixels_without_truth_are_no_part_of_the_union() -> None:
    truth = scene((slice(0, 5), 1))
    found = scene((slice(0, 10), 8))  # half of it where nothing is known
    counts = tally(truth, rows((1, 1, 20)), found, rows((8, 1, 40)))
    assert counts == {1: (1.0, 1, 0, 0)}


def test_exactly_half_is_not_enough() -> None:
    truth = scene((slice(0, 3), 1), (slice(3, 10), 2))
    found = scene((slice(0, 6), 8))
    counts = tally(truth, rows((1, 1, 12), (2, 92, 28)), found, rows((8, 1, 24)))
    assert counts == {1: (0.0, 0, 1, 1), 92: (0.0, 0, 0, 1)}


@pytest.mark.parametrize(("category", "false"), [(1, 0), (92, 1)])
def test_a_segment_in_a_crowd_of_its_category_is_not_false(category: int, false: int) -> None:
    truth, found = scene((slice(0, 10), 1)), scene((slice(0, 4), 8))
    counts = tally(truth, rows((1, 1, 40), crowd=1), found, rows((8, category, 16)))
    assert sum(one.false_positives for one in counts.values()) == false
    assert not any(one.false_negatives for one in counts.values())


@pytest.mark.parametrize("area", [0, 3, 39])
def test_an_area_smaller_than_what_is_found_of_it_has_no_quality(area: int) -> None:
    ids = scene((slice(0, 10), 1))
    with pytest.raises(IntegrityError, match=f"lists the area {area}, and has at least 40 px"):
        tally(ids, rows((1, 1, area)), ids, rows((1, 1, 40)))


def test_what_is_not_there_has_no_number() -> None:
    found = qualities([{92: (0.9, 1, 0, 0)}], THING, STUFF)  # type: ignore[dict-item]
    assert found.metrics["panoptic_seg/PQ_th"] is None
    assert found.metrics["panoptic_seg/PQ"] == pytest.approx(90.0)
    (cat, sky) = found.per_category
    assert (cat.ap, cat.reason) == (None, "no segment")
    assert sky.ap == pytest.approx(90.0)
