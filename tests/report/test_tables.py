"""Records as tables: nothing is lost, and numbers survive a narrow terminal."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from harness.core.checks import Check, Reference, Status, Tolerance
from harness.core.record import CategoryScore
from harness.core.requests.queries import TableFormat
from harness.report.record_rows import (
    RECORD_COLUMNS,
    category_rows,
    learned_rows,
    record_rows,
)
from harness.report.tables import FORMATS, INTERVAL_COLUMN, number, render, shortened

COMMIT = "facebookresearch/detectron2@02b5c4e295e990042a714712c21dc79b731e8833"


def check(
    metric: str,
    measured: float | None,
    value: float,
    tolerance: Tolerance | None = None,
    status: Status = Status.PASS,
) -> Check:
    reference = Reference(
        metric=metric, value=value, tolerance=tolerance, source=f"{COMMIT} MODEL_ZOO.md: row 3"
    )
    delta = None if measured is None else measured - value
    return Check(metric=metric, measured=measured, reference=reference, delta=delta, status=status)


def test_every_metric_has_a_row_and_every_reference_one() -> None:
    metrics = {"bbox/AP": 40.96, "bbox/AP50": 61.5, "segm/AP": None}
    checks = (
        check("bbox/AP", 40.96, 41.0, Tolerance(below=0.1, above=0.1, source="")),
        check("bbox/AP", 40.96, 40.9, status=Status.INFORMATIONAL),
        check(
            "segm/AP",
            None,
            37.2,
            Tolerance(below=0.1, above=0.1, source=""),
            status=Status.MISSING,
        ),
    )
    source = "published: facebookresearch/detectron2@02b5c4e MODEL_ZOO.md"
    assert record_rows(metrics, checks) == [
        ("bbox/AP", "40.960", "41.000", "-0.040", "±0.1", source, "pass"),
        ("bbox/AP", "40.960", "40.900", "+0.060", "", source, "informational"),
        ("bbox/AP50", "61.500", "", "", "", "", ""),
        ("segm/AP", "–", "37.200", "", "±0.1", source, "missing"),
    ]


def test_a_one_sided_tolerance_shows_its_open_side() -> None:
    tolerance = Tolerance(below=None, above=0.005, source="")
    (row,) = record_rows({"s_per_image": 0.04}, (check("s_per_image", 0.04, 0.043, tolerance),))
    assert row[1:5] == ("0.0400", "0.0430", "-0.0030", "-∞ … +0.005")


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("bbox/AP", 41.03456, "41.035"),
        ("fps", 23.2558, "23.256"),
        ("s_per_image", 0.04312, "0.0431"),
        ("phase/forward_s", 0.04312, "0.0431"),
        ("peak_memory_bytes", 3 * 2**30, "3,072 MiB"),
        ("repeats", 3.0, "3"),
        ("segm/AP", None, "–"),
    ],
)
def test_numbers(metric: str, value: float | None, text: str) -> None:
    assert number(metric, value) == text


def test_categories_of_the_same_name_keep_their_own_rows() -> None:
    def score(task: str, number: int, ap: float | None) -> CategoryScore:
        return CategoryScore(task=task, category_id=number, name="cup", ap=ap)  # type: ignore[arg-type]

    rows = category_rows(
        [score("bbox", 1, 50.0), score("bbox", 2, None), score("segm", 1, 40.0)]
        + [score("segm", 2, 30.0)]
    )
    assert rows == [("1", "cup", "50.00", "40.00"), ("2", "cup", "–", "30.00")]


ROWS = record_rows(
    {"bbox/AP": 40.96, "s_per_image": 0.04},
    (
        check(
            "bbox/AP",
            40.96,
            41.0,
            Tolerance(below=0.1, above=0.1, source=""),
            status=Status.NOT_COMPARABLE,
        ),
    ),
)


@pytest.mark.parametrize("style", ["plain", "markdown"])
def test_text_tables_hold_every_cell(style: TableFormat) -> None:
    text = render(RECORD_COLUMNS, ROWS, style)
    for cell in (*RECORD_COLUMNS, *ROWS[0], *ROWS[1]):
        assert cell in text
    assert text.startswith("| metric") == (style == "markdown")


def drawn(width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(render(RECORD_COLUMNS, ROWS, "rich"))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@given(st.integers(80, 200))
def test_a_narrow_terminal_cuts_the_source_and_no_number(width: int) -> None:
    lines = drawn(width).splitlines()
    assert len(lines) == 2 + len(ROWS)
    assert all(len(line) <= width for line in lines)
    for cell in ("bbox/AP", "40.960", "41.000", "-0.040", "±0.1", "not-comparable"):
        assert cell in lines[2]


def test_a_wide_terminal_shows_the_whole_source() -> None:
    assert "facebookresearch/detectron2@02b5c4e MODEL_ZOO.md" in drawn(140)


MODELS = ("model", "schedule", "box AP", "mask AP", "V100 s/img", "size", "on disk")
ZOO = [
    ("mask_rcnn_R_50_FPN_3x", "3x", "41.0", "37.2", "0.043", "178 MB", "embedded"),
    ("tiny", "–", "72.793", "70.466", "–", "2 MB", "no"),
]
DOCTOR = ("what", "status", "found", "fix")
FINDINGS = [
    ("val2017", "warn", "not there: /a/long/path/to/datasets/coco/val2017", f"run: {'x' * 70} -y"),
    ("torch", "ok", "2.12.1", ""),
]
COMPARED = ("metric", "first", "second", "delta", "95 % of resamples", "second is")
CHANGES = [("segm/AP50", "61.504", "61.498", "-0.006", "-0.012 … +0.001", "noise")]
HISTORY = ("cell", "metric", "last", "nights", "trend", "drift")
TRENDS = [
    (
        "R_50_FPN_3x-native-fp32-cuda0",
        "phase/forward_s",
        "0.04312",
        "31",
        "▁▂▃▄▅▆▇█▁▂▃▄▅▆▇█",
        "since 2026-01-12 +3.1 % (from 0.0431 to 0.0445)",
    ),
]


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize(
    ("columns", "rows"),
    [(MODELS, ZOO), (DOCTOR, FINDINGS), (COMPARED, CHANGES), (HISTORY, TRENDS)],
    ids=["models", "doctor", "compare", "history"],
)
def test_no_number_and_no_command_is_cut(
    columns: tuple[str, ...],
    rows: list[tuple[str, ...]],
    width: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    table = render(columns, rows, "rich")
    if isinstance(table, str):
        shown = table
    else:
        console = Console(width=width, file=io.StringIO(), color_system=None)
        console.print(table)
        shown = console.file.getvalue()  # type: ignore[attr-defined]
        assert all(len(line) <= width for line in shown.splitlines())
    assert "…" not in shown.replace(" … ", "")
    words = set(shown.split())
    for row in rows:
        for cell in row:
            assert set(cell.split()) <= words, cell
    fix = rows[0][-1]
    if columns == DOCTOR and width < 120:
        assert fix in shown, "a command is on one line"
    for heading in columns[1:]:
        assert set(heading.split()) <= words


def test_a_table_that_nearly_fits_has_headings_of_several_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "75")
    assert not isinstance(render(MODELS, ZOO, "rich"), str)
    monkeypatch.setenv("COLUMNS", "60")
    assert isinstance(render(MODELS, ZOO, "rich"), str)


def test_the_table_of_an_evaluation_fits_into_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals, references and the long names of throughput at once, and no block for each row."""
    monkeypatch.setenv("COLUMNS", "80")
    columns = (*RECORD_COLUMNS[:2], INTERVAL_COLUMN, *RECORD_COLUMNS[2:])
    source = "published: facebookresearch/detectron2@02b5c4e MODEL_ZOO.md"
    rows = [
        ("bbox/AP", "72.793", "68.88 … 76.71", "72.793", "+0.000", "±0.05", source, "pass"),
        ("throughput/all_devices_fps", "22.652", "", "", "", "", "", ""),
    ]
    console = Console(width=80, file=io.StringIO(), color_system=None)
    console.print(render(columns, rows, "rich"))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert all(len(line) <= 80 for line in lines)
    names = [line.split()[0] for line in lines[-3:]]
    assert names == ["bbox/AP", "throughput/", "all_devices_fps"]
    assert "68.88 … 76.71" in lines[-3]


@pytest.mark.parametrize("style", FORMATS)
def test_a_text_of_a_megabyte_is_cut(style: TableFormat) -> None:
    shown = render(("id", "where"), [("1", "x" * 1_000_000)], style)
    if style == "rich":
        console = Console(width=2000, record=True, file=io.StringIO())
        console.print(shown)
        shown = console.export_text()
    assert "999000 characters left out" in shown
    assert len(shown) < 10_000


LONG_NAMES = (
    "x" * 300,
    "a name of many words " * 12,
    "キャットフード" * 20,
    "first" + "y" * 60 + "last",
)


@pytest.mark.parametrize(
    ("columns", "numbers"),
    [
        (("id", "category", "objects", "of them boxes only"), 3),
        (("id", "category", "learned from", "box AP", "mask AP"), 4),
        (("task", "id", "category", "first", "second", "delta", "second is"), 6),
        (("object", "detected as", "count"), 1),
        (("what", "count", "why", "example"), 3),
    ],
)
@pytest.mark.parametrize("style", ["rich", "plain"])
def test_long_names_leave_a_table_within_80_columns(
    columns: tuple[str, ...], numbers: int, style: TableFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    names = ("category", "object", "detected as", "example")
    rows = [
        [name if column in names else f"12,345.{number}" for number, column in enumerate(columns)]
        for name in (*LONG_NAMES, "short")
    ]
    table = render(columns, rows, style)
    if style == "rich":
        assert not isinstance(table, str)  # a table, and not a block of lines for each row
        console = Console(width=80, file=io.StringIO(), color_system=None)
        console.print(table)
        table = console.file.getvalue()  # type: ignore[attr-defined]
    assert table.count("12,345.") == numbers * len(rows)
    widest = max(cell_len(line) for line in table.splitlines())
    assert widest <= (80 if style == "rich" else 110)
    assert "first" in table
    assert "last" in table
    assert "short" in table


def test_names_in_markdown_are_whole() -> None:
    assert LONG_NAMES[0] in render(("id", "category"), [("1", LONG_NAMES[0])], "markdown")


@given(st.text(alphabet="abc キ猫\u0301 -", max_size=80), st.integers(8, 60))
def test_a_shortened_name_is_as_wide_as_is_allowed(text: str, width: int) -> None:
    found = shortened(text, width)
    assert cell_len(found) <= width
    if cell_len(text) <= width:
        assert found == text
    else:
        assert "…" in found


def test_what_was_learned_has_a_column_for_each_task_by_its_name() -> None:
    scores = [
        {"task": task, "category_id": number, "name": name, "ap": ap}
        for task, number, name, ap in (
            ("bbox", 1, "cat", 30.0),
            ("segm", 1, "cat", None),
            ("panoptic_seg", 1, "cat", 41.5),
            ("panoptic_seg", 7, "sky", 60.25),
        )
    ]
    columns, rows = learned_rows(scores, {"1": 12})
    assert columns == ["id", "category", "learned from", "box AP", "mask AP", "PQ"]
    assert rows == [["1", "cat", "12", "30.00", "–", "41.50"], ["7", "sky", "", "", "", "60.25"]]
