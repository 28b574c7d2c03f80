"""A night as Markdown for people, and as JUnit XML for machines that watch builds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from harness.core.checks import Check, Status
from harness.core.nightly import CellResult, Night
from harness.core.printable import markdown_block, markdown_cell, printable
from harness.files.history import NightRow, Point
from harness.report.tables import number, render

#: Facts of an environment that explain a change of numbers.
TELLING = (
    "python",
    "platform",
    "hostname",
    "cpu",
    "cuda",
    "driver",
    "gpus",
    "git_commit",
    "git_dirty",
    "packages",
)

#: A cell's status in a night that was no trouble.
SOUND = ("pass", "no-reference")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Cells that broke in the same night and are still broken."""

    cells: tuple[CellResult, ...]
    """The results of these cells."""

    last_good: NightRow | None
    """The last night in which they passed; None when the history has none, and ``since`` and
    ``nights`` are then unknown.
    """

    since: NightRow
    """The night after that."""

    nights: int
    """Number of nights from then on."""

    changes: tuple[tuple[str, str, str], ...]
    """(fact, then, now) of the two nights."""


def troubles_of(
    night: Night, nights: Sequence[NightRow], points: Sequence[Point]
) -> tuple[Trouble, ...]:
    """The cells of ``night`` that did not pass, by the night they broke in, newest first.

    Args:
        nights: Oldest first, ``night`` among them.
        points: Points of these nights.
    """
    known = [one for one in nights if one.created_utc <= night.created_utc]
    sound = {(point.night_id, point.cell) for point in points if point.status in SOUND}
    broken: dict[int, list[CellResult]] = defaultdict(list)
    for result in night.cells:
        if result.status in SOUND or not known:
            continue
        good = [n for n, one in enumerate(known) if (one.night_id, result.cell.name) in sound]
        broken[max(good, default=-1)].append(result)
    return tuple(_trouble(known, good, broken[good]) for good in sorted(broken, reverse=True))


def _trouble(nights: Sequence[NightRow], good: int, cells: Sequence[CellResult]) -> Trouble:
    first_bad = min(good + 1, len(nights) - 1)
    last_good = nights[good] if good >= 0 else None
    changes = differences(last_good.environment, nights[first_bad].environment) if last_good else []
    return Trouble(
        cells=tuple(cells),
        last_good=last_good,
        since=nights[first_bad],
        nights=len(nights) - first_bad,
        changes=tuple(changes),
    )


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(fact, then, now) of every telling fact that is not the same in two environments."""
    flat_before, flat_after = _flat(before), _flat(after)
    return [
        (name, flat_before.get(name, "–"), flat_after.get(name, "–"))
        for name in sorted(flat_before.keys() | flat_after.keys())
        if flat_before.get(name) != flat_after.get(name)
    ]


def _flat(environment: Mapping[str, Any]) -> dict[str, str]:
    """Every telling fact as text, each package on its own."""
    facts = {name: _text(environment.get(name)) for name in TELLING if name != "packages"}
    packages = environment.get("packages") or {}
    return facts | {f"package {name}": str(version) for name, version in packages.items()}


def _text(value: Any) -> str:
    if isinstance(value, str) and len(value) == 40:
        return value[:12]  # a commit
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "–"
    return "–" if value is None else str(value)


MARKS = {
    "pass": "pass",
    "regression": "REGRESSION",
    "failed": "FAILED",
    "no-reference": "no reference",
}
COLUMNS = ("cell", "device", "box AP", "mask AP", "s / image", "status", "why")


def night_rows(night: Night) -> list[tuple[str, ...]]:
    """COLUMNS of every cell."""
    return [
        (
            result.cell.name,
            result.device_class or "–",
            _metric(result, "bbox/AP"),
            _metric(result, "segm/AP"),
            _metric(result, "s_per_image"),
            MARKS[result.status],
            reason_of(result),
        )
        for result in night.cells
    ]


def reason_of(result: CellResult) -> str:
    """Why a cell did not pass, in one line; empty when it did."""
    failing = [
        f"{check.metric} {number(check.metric, check.measured)} against "
        f"{number(check.metric, check.reference.value)} ({check.reference.role})"
        for check in result.checks
        if check.status in (Status.FAIL, Status.MISSING) and check.reference is not None
    ]
    if failing:
        return "; ".join(failing)
    lines = [line.strip() for line in result.error.strip().splitlines()] or [""]
    # The last line of a traceback has the error, as has the first line of a HarnessError, which may
    # be the heading of a list.
    if lines[0].startswith("Traceback"):
        return lines[-1]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def night_markdown(night: Night) -> str:
    """Title, one table, one line a failure."""
    table = render(COLUMNS, night_rows(night), "markdown")
    errors = [
        f"## {markdown_cell(result.cell.name)}\n\n{markdown_block(result.error.strip())}\n"
        for result in night.cells
        if result.error
    ]
    title = f"# Night {markdown_cell(night.night_id)}: {night.status}\n"
    return "\n".join([title, str(table), "", *errors])


def night_junit(night: Night) -> str:
    """One test case a cell and check; a failed cell is an error, a regression a failure."""
    suite = ElementTree.Element("testsuite", name=f"harness nightly {night.night_id}")
    for result in night.cells:
        if result.error:
            case = _case(suite, result, "run", result.seconds)
            ElementTree.SubElement(case, "error", message=reason_of(result)).text = result.error
        elif not result.checks:
            _case(suite, result, "run", result.seconds)
        for check in result.checks:
            _check_case(suite, result, check)
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", str(len(suite.findall("testcase/error"))))
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    for element in suite.iter():  # XML has no control characters, not even as references
        element.attrib = {name: printable(value) for name, value in element.attrib.items()}
        element.text = None if element.text is None else printable(element.text)
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _check_case(suite: ElementTree.Element, result: CellResult, check: Check) -> None:
    role = "" if check.reference is None else f" ({check.reference.role})"
    case = _case(suite, result, f"{check.metric}{role}", 0.0)
    if check.status in (Status.FAIL, Status.MISSING):
        ElementTree.SubElement(case, "failure", message=check.reason)
    elif check.status is not Status.PASS:
        ElementTree.SubElement(case, "skipped", message=check.reason or check.status.value)


def _case(
    suite: ElementTree.Element, result: CellResult, name: str, seconds: float
) -> ElementTree.Element:
    return ElementTree.SubElement(
        suite, "testcase", classname=result.cell.name, name=name, time=f"{seconds:.3f}"
    )


def _metric(result: CellResult, name: str) -> str:
    value = result.metrics.get(name)
    return "–" if value is None else number(name, value)
