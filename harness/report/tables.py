"""Records as tables: for a terminal (rich), for Markdown and for plain text (tabulate)."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, Literal

from harness.core.checks import Check, Status
from harness.core.errors import bounded
from harness.core.printable import markdown_cell, one_line
from harness.core.tasks import MAIN_METRICS, PANOPTIC, SEMANTIC, TASKS, main_metric

if TYPE_CHECKING:
    from harness.core.record import CategoryScore, MetricInterval, RunRecord

TableFormat = Literal["rich", "markdown", "plain"]
FORMATS: tuple[TableFormat, ...] = ("rich", "markdown", "plain")

#: A number that is undefined.
ABSENT = "–"

#: Characters of a cell: no command or number is as long, a name from a file may be.
LONGEST_CELL = 1000

COLOURS = {
    Status.PASS: "green",
    Status.FAIL: "red",
    Status.MISSING: "red",
    Status.NOT_COMPARABLE: "yellow",
    Status.WITHIN_NOISE: "yellow",
    Status.NO_REFERENCE: "cyan",
    Status.INFORMATIONAL: "dim",
}

#: Metrics that count things.
COUNTS = ("timed_images", "repeats", "gpu_clock_mhz")

#: Columns that give way when the terminal is narrow.
ELASTIC = (
    "source",
    "found",
    "fix",
    "category",
    "object",
    "detected as",
    "title",
    "proof",
    "why",
    "drift",
    "setting",
    "example",
)
#: Columns whose cells may be commands, to be copied.
COPIED = ("fix",)

#: Columns of names that users give, and how wide one may be: too long ones are shortened in the
#: middle. What is printed as JSON, and the files of a run, have them whole.
NAMED = {"category": 40, "object": 40, "detected as": 40, "example": 60}

#: Width of a name's words where that alone keeps a table from fitting into a terminal.
LONGEST_WORDS = (24, 16)

#: Characters of a source that say something.
LEAST_SOURCE = 6

#: Heading of the intervals of a bootstrap over images.
INTERVAL_COLUMN = "95 %"

NUMERIC = (
    *("measured", INTERVAL_COLUMN, "reference", "delta"),
    *("ms/image", "time", "GFLOP", "GFLOP/s", "of peak", "GB/s", "of copy", "parameters"),
    *("calls/image", "CPU ms", "GPU ms"),
    *("count", "objects", "of them boxes only"),
    *("FPS", "ratio", "p50 ms", "p90 ms", "p99 ms", "memory"),
)
RECORD_COLUMNS = ("metric", "measured", "reference", "delta", "tolerance", "source", "status")


def record_rows(
    metrics: Mapping[str, float | None], checks: Sequence[Check]
) -> list[tuple[str, ...]]:
    """RECORD_COLUMNS of everything measured, once for each of its references."""
    rows: list[tuple[str, ...]] = []
    for metric, value in metrics.items():
        found = [_check_row(check) for check in checks if check.metric == metric]
        rows += found or [(metric, number(metric, value), "", "", "", "", "")]
    return rows


def with_interval_column(
    rows: Sequence[tuple[str, ...]], intervals: Mapping[str, MetricInterval]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns and rows of a record with the 95 % intervals, where there are any.

    Args:
        rows: Of ``record_rows``.
        intervals: By metric.
    """
    if not intervals:
        return RECORD_COLUMNS, list(rows)
    columns = (*RECORD_COLUMNS[:2], INTERVAL_COLUMN, *RECORD_COLUMNS[2:])
    return columns, [(*row[:2], _range(intervals.get(row[0])), *row[2:]) for row in rows]


def _range(interval: MetricInterval | None) -> str:
    return "" if interval is None else f"{interval.low:.2f} … {interval.high:.2f}"


def certainty_line(intervals: Mapping[str, MetricInterval], images: int) -> str | None:
    """The smallest difference that a data set can show, in one sentence; None without intervals.

    Args:
        intervals: By metric.
        images: How many images were scored.
    """
    known = {name: intervals.get(metric) for metric, name in MAIN_METRICS.items()}
    least = [f"{one.detectable:.2f} {name}" for name, one in known.items() if one is not None]
    if not least:
        return None
    return (
        f"{images} image(s) can show a difference of {' and '.join(least)} between two models; "
        "of runs on the same images harness compare finds smaller ones"
    )


def category_rows(scores: Sequence[CategoryScore]) -> list[tuple[str, ...]]:
    """(id, name, AP of each task) by category; one row an id, however names repeat."""
    tasks = list(dict.fromkeys(row.task for row in scores))
    by_id: dict[tuple[int, str], dict[str, str]] = {}
    for row in scores:
        cell = "–" if row.ap is None else f"{row.ap:.2f}"
        by_id.setdefault((row.category_id, row.name), {})[row.task] = cell
    return [
        (str(category_id), name, *(cells.get(task, "") for task in tasks))
        for (category_id, name), cells in by_id.items()
    ]


def render(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    style: TableFormat,
    spare: Sequence[str] = (),
) -> Any:
    """Render a table: a rich renderable for ``rich``, text otherwise. Each row is one line.

    Numbers and commands are never cut; names of users are, except in Markdown.

    Args:
        columns: Headings.
        rows: Cells.
        style: Form of the table.
        spare: Columns that are left out on a narrow terminal, one after the other until the rest
            fits.
    """
    shown = markdown_cell if style == "markdown" else one_line
    rows = [[bounded(shown(cell), LONGEST_CELL) for cell in row] for row in rows]
    if style != "markdown":
        widths = {column: partial(shortened, width=width) for column, width in NAMED.items()}
        rows = _with_names(columns, rows, widths)
    if style != "rich":
        from tabulate import tabulate

        kind = "github" if style == "markdown" else "simple"
        align = ["right" if column in NUMERIC else "left" for column in columns]
        return tabulate(rows, headers=columns, tablefmt=kind, colalign=align, disable_numparse=True)
    return _for_terminal(columns, rows, get_terminal_size().columns, spare)


def shortened(text: str, width: int) -> str:
    """A text without its middle where it is wider; a Chinese or Japanese character is two wide.

    Args:
        text: One line.
        width: In characters of a terminal.
    """
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return text
    end = (width - 1) // 3
    tail = set_cell_size(text[::-1], end)[::-1].lstrip()
    return f"{set_cell_size(text, width - 1 - end).rstrip()}…{tail}"


def _with_names(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    changes: Mapping[str, Callable[[str], str]],
) -> list[list[str]]:
    """Rows with cells changed.

    Args:
        columns: Headings.
        rows: Cells.
        changes: Heading → what changes a cell below it.
    """
    changed = [(at, changes[column]) for at, column in enumerate(columns) if column in changes]
    found = [list(row) for row in rows]
    for row in found:
        for at, change in changed:
            row[at] = change(row[at])
    return found


def _with_shorter_words(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> list[list[str]]:
    """Rows with words of names only as short as it takes to fit into ``width`` characters."""
    found = [list(row) for row in rows]
    for longest in LONGEST_WORDS:
        if _fits(columns, found, width):
            break
        shorter = dict.fromkeys(NAMED, partial(_with_short_words, longest=longest))
        found = _with_names(columns, rows, shorter)
    return found


def _with_short_words(name: str, *, longest: int) -> str:
    return " ".join(shortened(word, longest) for word in name.split())


def _for_terminal(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, spare: Sequence[str] = ()
) -> Any:
    """A rich table where it fits into ``width`` characters; else a block of lines for each row.

    Nothing is cut but long names, and the source of a reference: the record has them whole.
    """
    rows = _with_shorter_words(columns, rows, width)
    # Where not even the numbers fit, the sources are left to the record.
    for column in (*spare, "source"):
        folded = [heading.replace(" ", "\n") for heading in columns] if column in spare else None
        if not _fits(columns, rows, width, folded) and column in columns:
            place = columns.index(column)
            columns, *rows = ((*row[:place], *row[place + 1 :]) for row in (columns, *rows))
    headings = list(columns)
    if not _fits(columns, rows, width):
        headings = [column.replace(" ", "\n") for column in columns]
    if not _fits(columns, rows, width, headings):
        return stacked(columns, rows, width)
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    least_widths = _least_widths(columns, rows, headings)
    for column, heading, least in zip(columns, headings, least_widths, strict=True):
        justify: Literal["left", "right"] = "right" if column in NUMERIC else "left"
        elastic = column in ELASTIC
        table.add_column(
            heading, justify=justify, no_wrap=not elastic, min_width=least if elastic else None
        )
    colours = {status.value: colour for status, colour in COLOURS.items()}
    for row in rows:
        table.add_row(
            *(
                Text(cell, style=colours.get(cell, ""), no_wrap=column == "source")
                for column, cell in zip(columns, row, strict=True)
            )
        )
    return table


def stacked(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> str:
    """Rows as blocks of lines: for terminals that are too narrow for a table.

    Args:
        columns: Headings.
        rows: Cells; empty ones are left out. Short ones share lines.
        width: Characters of a line. Words are never broken, so a long one makes a longer line; what
            may be a command stays on one line, so that it can be copied.
    """
    blocks = []
    for row in rows:
        cells = [(column, cell) for column, cell in zip(columns, row, strict=True) if cell][1:]
        short = [f"{column} {cell}".strip() for column, cell in cells if column not in ELASTIC]
        lines = [row[0], *_shared_lines(short, width)]
        for column, cell in cells:
            if column in ELASTIC:
                lines += _own_lines(column, cell, width)
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _shared_lines(items: Sequence[str], width: int) -> list[str]:
    """Items beside each other, as many a line as fit."""
    lines: list[str] = []
    for item in items:
        if lines and len(lines[-1]) + 3 + len(item) <= width:
            lines[-1] += f"   {item}"
        else:
            lines.append(f"  {item}")
    return lines


def _own_lines(column: str, cell: str, width: int) -> list[str]:
    if column in COPIED:
        return [f"  {column} {cell}"]
    return textwrap.wrap(
        f"{column} {cell}",
        width,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def verdict_colour(record: RunRecord) -> str:
    """The colour of the verdict line."""
    return {"pass": "bold green", "fail": "bold red"}.get(record.verdict.outcome, "bold yellow")


def _fits(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int,
    headings: Sequence[str] | None = None,
) -> bool:
    """Whether a table fits without breaking a word, or a cell of a column that is not elastic."""
    least = _least_widths(columns, rows, headings or columns)
    # Between two columns a padding and the place of a line, that is not drawn.
    return sum(least) + 2 * (len(least) - 1) <= width


def _least_widths(
    columns: Sequence[str], rows: Sequence[Sequence[str]], headings: Sequence[str]
) -> list[int]:
    """Characters that each column needs: its longest word if it is elastic, else its longest cell.

    A source may be cut short. A heading may have several lines.
    """
    from rich.cells import cell_len

    widths = []
    for column, heading, *cells in zip(columns, headings, *rows, strict=True):
        texts = [*heading.split("\n"), *cells]
        if column == "source":
            widths.append(LEAST_SOURCE)
        elif column in ELASTIC:
            words = (word for text in texts for word in text.split())
            widths.append(max(map(cell_len, words), default=0))
        else:
            widths.append(max(map(cell_len, texts)))
    return widths


def number(metric: str, value: float | None, *, sign: str = "") -> str:
    """A metric as text: AP to 3 digits, times to 0.1 ms, memory in MiB.

    Args:
        sign: "+" shows it.
    """
    if value is None:
        return "–"
    if metric.endswith("_bytes"):
        return f"{value / 2**20:{sign},.0f} MiB"
    if metric in COUNTS:
        return f"{value:{sign}.0f}"
    digits = 4 if metric.endswith("_s") or metric.startswith("s_per") else 3
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}"  # what rounds to zero is not negative


def _check_row(check: Check) -> tuple[str, ...]:
    reference = check.reference
    tolerance = None if reference is None else reference.tolerance
    return (
        check.metric,
        number(check.metric, check.measured),
        "" if reference is None else number(check.metric, reference.value),
        "" if check.delta is None else number(check.metric, check.delta, sign="+"),
        "" if tolerance is None else _allowed(tolerance.below, tolerance.above),
        "" if reference is None else _short_source(reference.source, reference.role),
        check.status.value,
    )


def _allowed(below: float | None, above: float | None) -> str:
    if below == above:
        return "any" if below is None else f"±{below:g}"
    low = "-∞" if below is None else f"-{below:g}"
    high = "+∞" if above is None else f"+{above:g}"
    return f"{low} … {high}"


def _short_source(source: str, role: str) -> str:
    """The first words of a source, its commit cut to seven digits; the record has it whole."""
    first = re.sub(r"(@[0-9a-f]{7})[0-9a-f]+", r"\1", re.split(r"[:,;]", source)[0])
    return f"{role}: {first if len(first) <= 48 else first[:47] + '…'}"


#: What is shown, and what people call it.
NAMES = {
    f"{task}/{metric}": f"{facts.noun} {metric}"
    for task, facts in TASKS.items()
    for metric in ("AP", "AP50")
} | {name: spoken for name, spoken in MAIN_METRICS.items() if name.startswith((PANOPTIC, SEMANTIC))}


def score_rows(summary: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows of AP and losses: before, with the best and the last weights, test.

    Args:
        summary: ``TrainingSummary`` as a record keeps it.
    """
    columns: dict[str, Mapping[str, float | None]] = {}
    if summary["before"] is not None:
        columns["before"] = summary["before"]
    columns[f"best (iteration {summary['best_iteration']:,})"] = summary["best"]
    columns[f"last (iteration {summary['last_iteration']:,})"] = summary["last"]
    if summary["test"] is not None:
        columns["best, on the test data"] = summary["test"]
    rows = [
        [NAMES[metric], *(decimal(column.get(metric)) for column in columns.values())]
        for metric in NAMES
        if any(metric in column for column in columns.values())
    ]
    rows += _loss_rows(summary, len(columns))
    return ["", *columns], rows


def _loss_rows(summary: Mapping[str, Any], width: int) -> list[list[str]]:
    """Return a row for each kind of loss, under the weights that it was measured with."""
    before = summary["before"] is not None
    rows = []
    for name, key in (
        ("training loss", "train_loss"),
        ("validation loss", "validation_loss"),
        ("test loss", "test_loss"),
    ):
        if summary[key] is None:
            continue
        first, last = (decimal(value, 3) for value in summary[key])
        if key == "train_loss":
            # The first lines of the log belong to the weights before; the best has none of its own.
            at_first = "" if first == ABSENT else f"{first} at first"
            cells = [first, "", last] if before else [at_first, last]
        else:
            cells = ["", first, last] if before else [first, last]
        rows.append([name, *cells, *[""] * (width - len(cells))])
    return rows


def learned_rows(
    scores: Sequence[Mapping[str, Any]], object_counts: Mapping[str, int]
) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows: id, name, objects that were learned, and each task's number.

    Args:
        scores: ``CategoryScore`` of each category and task, as a record keeps it.
        object_counts: Objects that were learned from, by category id.
    """
    tasks = list(dict.fromkeys(row["task"] for row in scores))
    columns = ["id", "category", "learned from"]
    columns += [MAIN_METRICS[main_metric(task)] for task in tasks]
    cells: dict[tuple[int, str], dict[str, str]] = {}
    for row in scores:
        cells.setdefault((row["category_id"], row["name"]), {})[row["task"]] = decimal(row["ap"])
    return columns, [
        [
            str(number),
            name,
            # Stuff has no objects to count.
            "" if found.keys() == {PANOPTIC} else str(object_counts.get(str(number), 0)),
            *(found.get(task, "") for task in tasks),
        ]
        for (number, name), found in cells.items()
    ]


def decimal(value: float | None, digits: int = 2) -> str:
    """A number with so many digits after the point; a dash for one that is undefined."""
    return ABSENT if value is None else f"{value:.{digits}f}"
