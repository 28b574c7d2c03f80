"""Findings about a machine as a list for a terminal: a line each, and below it what to do."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from shutil import get_terminal_size
from typing import Any

from harness.core.errors import bounded
from harness.core.printable import one_line
from harness.report.tables import LONGEST_CELL

#: Columns of a finding, in this order.
CHECKLIST_COLUMNS = ("what", "status", "found", "fix")

COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}

STATUS_WIDTH = 6

#: Width of the names of what was looked at; a longer one pushes what was found to the next line.
LABEL_WIDTH = 38


def checklist(findings: Sequence[Sequence[str]]) -> list[Any]:
    """Findings as lines for a terminal of any width. Nothing is cut, and a fix is one line.

    Args:
        findings: Cells of CHECKLIST_COLUMNS. A fix may be a command, to be copied.

    Returns:
        Lines: renderables of rich that fit, and texts to be written as they are.
    """
    cells = [[bounded(one_line(cell), LONGEST_CELL) for cell in row] for row in findings]
    return [line for row in cells for line in _lines(row, get_terminal_size().columns)]


def _lines(row: Sequence[str], width: int) -> list[Any]:
    """The lines of one finding."""
    from rich.cells import cell_len, set_cell_size
    from rich.text import Text

    what, status, found, fix = row
    mark = (f"{status:<{STATUS_WIDTH}}", COLOURS.get(status, ""))
    below = " " * STATUS_WIDTH
    if cell_len(what) < LABEL_WIDTH and cell_len(found) <= width - STATUS_WIDTH - LABEL_WIDTH:
        lines: list[Any] = [Text.assemble(mark, set_cell_size(what, LABEL_WIDTH), found)]
    else:
        wrapped = textwrap.wrap(
            found, max(width - 8, 20), break_long_words=False, break_on_hyphens=False
        )
        lines = [Text.assemble(mark, what), *(f"{below}  {line}" for line in wrapped)]
    if fix:
        lines.append(f"{below}→ {fix}")
    return lines
