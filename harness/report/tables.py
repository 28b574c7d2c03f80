"""Rows as a table: for a terminal (rich), for Markdown and for plain text (tabulate)."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from shutil import get_terminal_size
from typing import Any, Literal

from harness.core.checks import Status
from harness.core.errors import bounded
from harness.core.printable import markdown_cell, one_line
from harness.core.requests.queries import TableFormat

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
    "meaning",
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

#: Characters of a metric that stay on one line where that alone keeps a table from fitting.
LONGEST_METRIC = 16

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

    Nothing is cut but long names, and the source of a reference: the record has them whole. A line
    below the table names the columns of ``spare`` that had no room.
    """
    rows, offered = _with_shorter_words(columns, rows, width), columns
    # Where not even the numbers fit, the sources are left to the record.
    for column in (*spare, "source"):
        folded = [heading.replace(" ", "\n") for heading in columns] if column in spare else None
        if not _fits(columns, rows, width, folded) and column in columns:
            place = columns.index(column)
            columns, *rows = ((*row[:place], *row[place + 1 :]) for row in (columns, *rows))
    found = _folded(columns, rows, width)
    if found is None:
        return stacked(columns, rows, width)
    table = _rich_table(columns, *found)
    left_out = [column for column in spare if column in offered and column not in columns]
    return _with_note(table, left_out) if left_out else table


def _with_note(table: Any, left_out: Sequence[str]) -> Any:
    """A table with a line below it that names the columns that a wider terminal has."""
    from rich.console import Group
    from rich.text import Text

    return Group(table, Text(f"no room for: {', '.join(left_out)} (--format plain has them)"))


def _folded(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> tuple[list[str], list[Sequence[str]]] | None:
    """Headings and rows with as few line breaks as it takes to fit; None where nothing does.

    Two lines for "throughput/one_device_fps" are easier to read than a block of lines a row.
    """
    broken = [
        column if column == INTERVAL_COLUMN else column.replace(" ", "\n") for column in columns
    ]
    metrics = [
        [row[0].replace("/", "/\n") if len(row[0]) > LONGEST_METRIC else row[0], *row[1:]]
        for row in rows
    ]
    attempts = [(list(columns), list(rows)), (broken, list(rows))]
    if columns[0] == "metric":
        attempts.append((broken, [*metrics]))
    for headings, cells in attempts:
        if _fits(columns, cells, width, headings):
            return headings, cells
    return None


def _rich_table(
    columns: Sequence[str], headings: Sequence[str], rows: Sequence[Sequence[str]]
) -> Any:
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
        texts = [heading, *cells]
        if column == "source":
            widths.append(LEAST_SOURCE)
        elif column in ELASTIC:
            words = (word for text in texts for word in text.split())
            widths.append(max(map(cell_len, words), default=0))
        else:
            lines = (line for text in texts for line in text.split("\n"))
            widths.append(max(map(cell_len, lines)))
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


def decimal(value: float | None, digits: int = 2) -> str:
    """A number with so many digits after the point; a dash for one that is undefined."""
    return ABSENT if value is None else f"{value:.{digits}f}"
