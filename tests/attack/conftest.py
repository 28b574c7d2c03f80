"""The attack suite: hostile and damaged inputs, counted by area.

Every test in this folder has the marker ``attack`` and counts as one trial of the area that its
file is named after; a test that tries many inputs takes the fixture ``trials`` and counts each.
``make attack-table`` writes the counts into docs/robustness.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.attack.trials import Trials, render_table, replace_table

FOLDER = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--attack-table", metavar="FILE", help="write the table of trials and faults into FILE"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.attack)


@pytest.fixture
def trials(request: pytest.FixtureRequest) -> Iterator[Trials]:
    """Counts the inputs of one test, and fails it at its end if one of them got through."""
    counted = Trials(area=_area(request.node.path))
    yield counted
    request.node.user_properties.append(("attack", counted.numbers()))
    if counted.faults or counted.lost:
        pytest.fail(counted.report(), pytrace=False)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Iterator[None]:
    """A test that does not count for itself is one trial."""
    outcome: Any = yield
    report = outcome.get_result()
    if report.when != "call" or report.skipped or FOLDER not in item.path.parents:
        return
    if "trials" not in item.fixturenames:
        report.user_properties.append(("attack", (_area(item.path), 1, int(report.failed), 0)))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Show the table, and write it where that was asked for."""
    counts: dict[str, Trials] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == "attack":
                    area, number, faults, lost = value
                    counts.setdefault(area, Trials(area=area)).add(number, faults, lost)
    if not counts:
        return
    table = render_table(counts.values())
    terminalreporter.write_sep("=", "attacks")
    terminalreporter.write_line(table)
    target = config.getoption("--attack-table", default=None)
    if target:
        replace_table(Path(target), table)


def _area(path: Path) -> str:
    return path.stem.removeprefix("test_").replace("_", " ")
