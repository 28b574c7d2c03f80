"""What broke, since when, and what changed then."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.core.nightly import CellResult, Night
from harness.files.history import NightRow, Point

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
    """Cells that broke in the same night, and are broken still.

    last_good: the last night that was sound for them; None when the history has none, of which
    since and nights then say nothing. since: the night after that. nights: how many from then on.
    changes: (fact, then, now) of the two nights.
    """

    cells: tuple[CellResult, ...]
    last_good: NightRow | None
    since: NightRow
    nights: int
    changes: tuple[tuple[str, str, str], ...]


def troubles_of(
    night: Night, nights: Sequence[NightRow], points: Sequence[Point]
) -> tuple[Trouble, ...]:
    """The cells of ``night`` that did not pass, by the night they broke in, newest first.

    nights: oldest first, ``night`` among them. points: of these nights.
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
