"""The sample of a training: which iterations stand on its sheet."""

from __future__ import annotations

from harness.workflows.training.pictures import MOST_COLUMNS, columns_of


def test_few_iterations_are_all_on_the_sheet() -> None:
    assert columns_of([0, 2, 4], None) == [0, 2, 4]
    assert columns_of([7], 7) == [7]


def test_of_many_first_best_and_last_are_on_the_sheet() -> None:
    many = list(range(0, 1010, 10))
    for best in many:
        chosen = columns_of(many, best)
        assert len(chosen) == len(set(chosen)) == MOST_COLUMNS
        assert chosen == sorted(chosen)
        assert {0, best, 1000} <= set(chosen)
    assert len(columns_of(many, None)) == MOST_COLUMNS
