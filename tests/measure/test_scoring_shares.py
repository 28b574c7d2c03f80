"""Categories split among processes: none is lost, none is scored twice, and none waits long."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from harness.core.tasks import TASKS
from harness.measure.evaluators import numbering_of
from harness.measure.scoring_processes import partitioned

BOX = [1.0, 2.0, 10.0, 20.0]
MASK = {"size": [50, 50], "counts": "0"}


def content(categories: list[int], rows: list[int]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Annotations with these category ids; one prediction and one object for each of ``rows``."""
    named = {"image_id": 1, "bbox": BOX, "segmentation": MASK}
    annotations = {
        "images": [{"id": 1, "height": 50, "width": 50}],
        "categories": [{"id": one, "name": str(one)} for one in categories],
        "annotations": [
            {**named, "id": number, "category_id": one} for number, one in enumerate(rows)
        ],
    }
    return annotations, [{**named, "category_id": one, "score": 0.5} for one in rows]


def in_processes(
    annotations: dict[str, Any], predictions: list[dict[str, Any]], processes: int
) -> Any:
    """Both tasks' rows of one image, split for so many processes."""
    return partitioned(
        annotations,
        predictions,
        ("bbox", "segm"),
        image_ids=[1],
        evaluator="fast",
        processes=processes,
    )


@given(
    st.lists(st.integers(0, 90), unique=True, max_size=12),
    st.lists(st.integers(0, 1000), max_size=40),
    st.integers(1, 5),
)
def test_every_category_of_every_task_is_in_one_share(
    categories: list[int], drawn: list[int], processes: int
) -> None:
    rows = [categories[one % len(categories)] for one in drawn] if categories else []
    annotations, predictions = content(categories, rows)
    shares = in_processes(annotations, predictions, processes)
    assert 1 <= len(shares) <= processes
    numbers = numbering_of(annotations).categories
    rows = [numbers[one] for one in rows]
    for task, dropped in (("bbox", "segmentation"), ("segm", "bbox")):
        own = [share for one in shares for share in one if share.task == task]
        assert sorted(one for share in own for one in share.category_ids) == sorted(
            numbers.values()
        )
        for share in own:
            wanted = [one for one in rows if one in share.category_ids]
            assert [row["category_id"] for row in share.rows] == wanted
            assert [row["category_id"] for row in share.truth["annotations"]] == wanted
            assert all(dropped not in row for row in share.rows)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(1, 4))
def test_no_process_has_more_than_its_part_and_one_category(
    counts: list[int], processes: int
) -> None:
    rows = [one for one, count in enumerate(counts) for _ in range(count)]
    annotations, predictions = content(list(range(len(counts))), rows)
    shares = in_processes(annotations, predictions, processes)
    loads = [sum(TASKS[share.task].cost * len(share.rows) for share in one) for one in shares]
    assert max(loads) <= sum(loads) / processes + TASKS["segm"].cost * max(counts) + 1e-9
