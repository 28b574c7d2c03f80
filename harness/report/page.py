"""A night and all nights before it as one page of HTML that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from harness.core.checks import Status
from harness.core.nightly import Night
from harness.files.history import NightRow, read_nights, read_points
from harness.report.night import COLUMNS, night_rows, reason_of
from harness.report.trends import HEIGHT, WATCHED, WIDTH, sentence_of, svg_points, trends_of

#: Facts of an environment that explain a change of numbers.
TELLING = ("python", "platform", "cpu", "cuda", "driver", "gpus", "git_commit", "packages")


def comparison_page(comparison: Any, rows: Sequence[Sequence[str]]) -> str:
    """The page of ``harness compare``. rows: of its metrics, as its table shows them."""
    return _template("compare.html.j2").render(comparison=comparison, rows=rows)


def night_page(night: Night, history: Path) -> str:
    """The page of ``night``; trends and comparisons are with the nights in ``history``."""
    trends = trends_of(read_points(history, metrics=WATCHED))
    return _template("night.html.j2").render(
        night=night,
        columns=COLUMNS,
        rows=night_rows(night),
        checks=_checks(night),
        reasons={result.cell.name: reason_of(result) for result in night.cells},
        trends=[
            {"trend": one, "points": svg_points(one.values), "drift": sentence_of(one)}
            for one in trends
        ],
        width=WIDTH,
        height=HEIGHT,
        changes=changes_since_good(night, read_nights(history)),
    )


def _template(name: str) -> Template:
    environment = Environment(
        loader=PackageLoader("harness.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def changes_since_good(night: Night, nights: Sequence[NightRow]) -> list[tuple[str, str, str]]:
    """(fact, then, now) between the last good night and the first bad one after it.

    Empty when the night passed, or when there is no good night before it.
    """
    if night.status == "pass":
        return []
    good = max((n for n, one in enumerate(nights) if one.status == "pass"), default=None)
    if good is None or good + 1 >= len(nights):
        return []
    before, after = nights[good].environment, nights[good + 1].environment
    return list(_differences(before, after))


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    flat_before, flat_after = _flat(before), _flat(after)
    return [
        (name, flat_before.get(name, "–"), flat_after.get(name, "–"))
        for name in sorted(flat_before.keys() | flat_after.keys())
        if flat_before.get(name) != flat_after.get(name)
    ]


def _flat(environment: Mapping[str, Any]) -> dict[str, str]:
    facts = {name: str(environment.get(name)) for name in TELLING if name != "packages"}
    packages = environment.get("packages") or {}
    return facts | {f"package {name}": str(version) for name, version in packages.items()}


def _checks(night: Night) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for result in night.cells:
        for check in result.checks:
            if check.reference is None or check.status is Status.SHOWN:
                continue
            measured = "–" if check.measured is None else f"{check.measured:.4g}"
            delta = "–" if check.delta is None else f"{check.delta:+.4g}"
            reference = f"{check.reference.value:.4g}"
            rows.append(
                (
                    result.cell.name,
                    check.metric,
                    measured,
                    reference,
                    delta,
                    check.reference.role,
                    check.status.value,
                )
            )
    return rows
