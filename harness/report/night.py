"""A night as Markdown for people, and as JUnit XML for machines that watch builds."""

from __future__ import annotations

from xml.etree import ElementTree

from harness.core.checks import Check, Status
from harness.core.nightly import CellResult, Night
from harness.report.tables import number, render

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
    lines = result.error.strip().splitlines() or [""]
    # A traceback says in its last line what happened, a message of ours in its first.
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]


def night_markdown(night: Night) -> str:
    """Title, one table, one line a failure."""
    table = render(COLUMNS, night_rows(night), "markdown")
    errors = [
        f"## {result.cell.name}\n\n```\n{result.error.strip()}\n```\n"
        for result in night.cells
        if result.error
    ]
    title = f"# Night {night.night_id}: {night.status}\n"
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
