"""Names that cover nothing, and round numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.report.sweep_plot import DOT, LABEL_HEIGHT, Box, place_labels, ticks

FRAME = Box(0, 0, 700, 400)
PLACES = st.tuples(st.floats(100, 600), st.floats(50, 350))


@given(st.lists(PLACES, min_size=1, max_size=8))
def test_labels_cover_neither_each_other_nor_a_dot(dots: list[tuple[float, float]]) -> None:
    labels = [f"setting {number}" for number in range(len(dots))]
    boxes = place_labels(labels, dots, [], FRAME)
    for number, box in enumerate(boxes):
        assert FRAME.holds(box)
        assert not any(box.meets(other) for other in boxes[:number])
        assert not any(box.meets(Box(x - DOT, y - DOT, x + DOT, y + DOT)) for x, y in dots)


def test_a_label_keeps_out_of_a_bar_if_it_can() -> None:
    bar = Box(100, 190, 300, 210)
    (box,) = place_labels(["a name"], [(150, 200)], [bar], FRAME)
    assert not box.meets(bar)
    (box,) = place_labels(["a name"], [(150, 200)], [FRAME], FRAME)
    assert box.top == 200 - LABEL_HEIGHT / 2, "beside its dot, where there is no room"


def test_a_label_never_covers_other_text() -> None:
    text = Box(50, 190, 690, 212)
    for x in (80.0, 300.0, 600.0):
        (box,) = place_labels(["a name"], [(x, 200)], [], FRAME, [text])
        assert not box.meets(text)


def test_no_room_at_all_is_no_error() -> None:
    (box,) = place_labels(["a name"], [(5, 5)], [], Box(0, 0, 10, 10))
    assert box.left > 5


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_ticks_are_few_round_and_around(low: float, span: float) -> None:
    high = low + span
    found = ticks(low, high)
    assert 2 <= len(found) <= 8
    step = found[1] - found[0]
    assert found[0] <= low + 1e-6 * step
    assert found[-1] >= high - 1e-6 * step


def test_ticks_of_a_known_range() -> None:
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(-0.13, 0.1) == [-0.15, -0.1, -0.05, 0, 0.05, 0.1]
