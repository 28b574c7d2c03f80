"""Splits are whole, even and reproducible; merges lose nothing."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import IntegrityError, UsageError
from harness.data.coco import read_annotations
from harness.data.convert.source_annotations import Tally
from harness.data.edit.splitting import merged, split, subset


def made(kinds: list[list[int]]) -> dict[str, Any]:
    """A file whose n-th image has one object of each of ``kinds[n]``."""
    rows: list[dict[str, Any]] = []
    for image, found in enumerate(kinds):
        for kind in found:
            box = [len(rows), 0, 5, 5]
            rows.append({"id": len(rows) + 1, "image_id": image, "category_id": kind, "bbox": box})
    return {
        "images": [
            {"id": number, "file_name": f"{number}.jpg", "height": 60, "width": 80}
            for number in range(len(kinds))
        ],
        "annotations": rows,
        "categories": [{"id": kind, "name": f"kind {kind}"} for kind in range(4)],
    }


@given(
    st.lists(st.lists(st.integers(0, 3), max_size=4), min_size=1, max_size=30),
    st.sampled_from([(0.8, 0.2), (0.5, 0.25, 0.25), (0.9, 0.1)]),
    st.integers(0, 3),
)
def test_every_image_is_in_one_part_with_all_its_objects(
    kinds: list[list[int]], fractions: tuple[float, ...], seed: int
) -> None:
    content = made(kinds)
    parts = split(content, fractions, seed)
    for key in ("images", "annotations"):
        ids = [row["id"] for part in parts for row in part[key]]
        assert sorted(ids) == [row["id"] for row in content[key]]
    for part, fraction in zip(parts, fractions, strict=True):
        images = {row["id"] for row in part["images"]}
        assert {row["image_id"] for row in part["annotations"]} <= images
        assert abs(len(images) - fraction * len(kinds)) < 1
        assert part["categories"] == content["categories"]
    upside_down = {**content, "images": content["images"][::-1]}
    again = split(upside_down, fractions, seed)
    names = [{row["file_name"] for row in part["images"]} for part in parts]
    assert [{row["file_name"] for row in part["images"]} for part in again] == names


def test_rare_categories_are_in_every_part() -> None:
    content = made([[0]] * 80 + [[0, 1]] * 10 + [[2]] * 5 + [[3, 3]] * 5)
    for seed in range(5):
        train, val = split(content, (0.8, 0.2), seed)
        counts = Counter(row["category_id"] for row in val["annotations"])
        assert counts == {0: 18, 1: 2, 2: 1, 3: 2}
        assert len(train["images"]) == 80


def test_the_seed_decides() -> None:
    content = made([[0]] * 20)
    first = [row["id"] for row in split(content, (0.5, 0.5), 0)[0]["images"]]
    assert first == [row["id"] for row in split(content, (0.5, 0.5), 0)[0]["images"]]
    assert first != [row["id"] for row in split(content, (0.5, 0.5), 1)[0]["images"]]


def test_real_categories_are_split_more_evenly_than_by_chance(shared_data: Path) -> None:
    content = read_annotations(shared_data / "coco/annotations/instances_val2017.json")
    total = Counter(row["category_id"] for row in content["annotations"])
    common = [kind for kind, count in total.items() if count >= 20]
    images = [row["id"] for row in content["images"]]

    def unevenness(members: set[int]) -> float:
        rows = (row for row in content["annotations"] if row["image_id"] in members)
        found = Counter(row["category_id"] for row in rows)
        return sum(abs(found[kind] / total[kind] - 0.3) for kind in common) / len(common)

    ours, by_chance = 0.0, 0.0
    for seed in range(6):
        train, val = split(content, (0.7, 0.3), seed)
        assert (len(train["images"]), len(val["images"])) == (144, 62)
        ours += unevenness({row["id"] for row in val["images"]})
        by_chance += unevenness(set(random.Random(seed).sample(images, 62)))
    assert ours < 0.7 * by_chance


def test_subsets_keep_ids_and_choose_by_the_seed() -> None:
    content = made([[0], [1], [0, 1], [2], []])
    found = subset(content, categories=["kind 0", "kind 2"], image_count=None, seed=0)
    assert [row["id"] for row in found["images"]] == [0, 2, 3]
    assert [row["id"] for row in found["categories"]] == [0, 2]
    assert {row["category_id"] for row in found["annotations"]} == {0, 2}
    assert subset(content, categories=[], image_count=None, seed=0) == content
    two = subset(content, categories=[], image_count=2, seed=3)
    assert two == subset(content, categories=[], image_count=2, seed=3)
    assert len(two["images"]) == 2
    with pytest.raises(UsageError, match="no category is called dice"):
        subset(content, categories=["dice"], image_count=None, seed=0)
    with pytest.raises(UsageError, match="there are 5"):
        subset(content, categories=[], image_count=6, seed=0)


def test_merging_a_split_gives_the_whole() -> None:
    content = made([[0], [1], [0, 1], [2], []] * 4)
    parts = split(content, (0.6, 0.4), 0)
    whole = merged(parts, ["", ""], Tally())

    def objects(one: dict[str, Any]) -> set[Any]:
        names = {row["id"]: row["file_name"] for row in one["images"]}
        kinds = {row["id"]: row["name"] for row in one["categories"]}
        return {
            (names[row["image_id"]], kinds[row["category_id"]], tuple(row["bbox"]))
            for row in one["annotations"]
        }

    assert objects(whole) == objects(content)
    assert len({row["id"] for row in whole["images"]}) == 20
    assert len({row["id"] for row in whole["annotations"]}) == len(content["annotations"])


def test_merging_joins_categories_by_name_and_counts_what_is_there_twice() -> None:
    first, second = made([[0], [1]]), made([[0], [3]])
    second["categories"][0]["name"] = "kind 3"
    second["categories"][3]["name"] = "new"
    tally = Tally()
    whole = merged([first, second], ["a/", "b/"], tally)
    names = [row["file_name"] for row in whole["images"]]
    assert names == ["a/0.jpg", "a/1.jpg", "b/0.jpg", "b/1.jpg"]
    assert [(row["id"], row["name"]) for row in whole["categories"]][-1] == (4, "new")
    assert [row["category_id"] for row in whole["annotations"]] == [0, 1, 3, 4]
    same = merged([first, first], ["", ""], tally)
    assert len(same["annotations"]) == 2
    assert tally.objects["there twice"].count == 2
    second["images"][0]["width"] = 90
    for name in ("0.jpg", "./0.jpg", "x/../0.jpg", ".\\0.jpg"):
        second["images"][0]["file_name"] = name
        with pytest.raises(IntegrityError, match="two images of one name"):
            merged([first, second], ["", ""], Tally())


def test_rows_of_one_file_stay_in_one_part() -> None:
    content = made([[0], [1], [0], [1], [2], [3]])
    for image, name in zip(
        content["images"], ("a.jpg", "b.jpg", "./a.jpg", "b.jpg", "c.jpg"), strict=False
    ):
        image["file_name"] = name
    for seed in range(5):
        parts = split(content, (0.5, 0.5), seed)
        files = [{one["file_name"].removeprefix("./") for one in part["images"]} for part in parts]
        assert files[0].isdisjoint(files[1])
        assert sum(len(part["images"]) for part in parts) == 6
        assert sum(len(part["annotations"]) for part in parts) == 6


def test_merging_refuses_one_file_that_lists_a_name_in_two_sizes() -> None:
    content = made([[0], [1]])
    content["images"][1] |= {"file_name": "0.jpg", "height": 600}
    with pytest.raises(IntegrityError, match="80 × 60 px once and 80 × 600 px in another row"):
        merged([content], [""], Tally())
    content["images"][1]["height"] = 60
    tally = Tally()
    assert len(merged([content], [""], tally)["images"]) == 1
    assert list(tally.notes) == ["images that are listed more than once: objects joined"]


def test_merging_joins_names_whatever_spaces_are_around_them() -> None:
    one, other = made([[0]]), made([[0]])
    other["categories"][0]["name"] += " "
    other["images"][0]["file_name"] = "b.jpg"
    after = merged([one, other], ["", ""], Tally())
    assert len(after["categories"]) == 4
    assert {row["category_id"] for row in after["annotations"]} == {0}
