"""Series of nights: where they drifted, and how they look."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from harness.files.history import Point
from harness.measure.drift import Drift, find_drift

#: What trends are shown of.
WATCHED = ("bbox/AP", "segm/AP", "s_per_image")

BARS = "▁▂▃▄▅▆▇█"

#: Size of a plot in SVG units, and the margin its line keeps.
WIDTH, HEIGHT, MARGIN = 280, 64, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """One metric of one cell on one device, night by night, oldest first."""

    cell: str
    device_class: str
    metric: str
    nights: tuple[str, ...]
    values: tuple[float, ...]
    drift: Drift | None


def trends_of(points: Sequence[Point]) -> list[Trend]:
    """A trend for each cell, device and watched metric."""
    series: dict[tuple[str, str, str], list[Point]] = defaultdict(list)
    for point in points:
        if point.metric in WATCHED and point.value is not None:
            series[(point.cell, point.device_class, point.metric)].append(point)
    trends = []
    for (cell, device_class, metric), found in sorted(series.items()):
        values = tuple(float(point.value or 0.0) for point in found)
        trends.append(
            Trend(
                cell=cell,
                device_class=device_class,
                metric=metric,
                nights=tuple(point.night_id for point in found),
                values=values,
                drift=find_drift(values),
            )
        )
    return trends


def sentence_of(trend: Trend) -> str:
    """The drift of a trend in words; empty without one."""
    if trend.drift is None:
        return ""
    return (
        f"{trend.drift.change:+.4g} since night {trend.nights[trend.drift.began]} "
        f"(from {trend.drift.level:.4g})"
    )


def sparkline(values: Sequence[float], width: int = 30) -> str:
    """The last ``width`` values as blocks; a flat series is a flat line."""
    shown = values[-width:]
    low, high = min(shown), max(shown)
    if high == low:
        return BARS[3] * len(shown)
    return "".join(BARS[round((value - low) / (high - low) * 7)] for value in shown)


def svg_points(values: Sequence[float]) -> str:
    """``points`` of an SVG polyline over WIDTH × HEIGHT."""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    step = (WIDTH - 2 * MARGIN) / max(len(values) - 1, 1)
    middle = HEIGHT / 2 if high == low else None
    return " ".join(
        f"{MARGIN + index * step:.1f},"
        f"{middle if middle is not None else _down(value, low, span):.1f}"
        for index, value in enumerate(values)
    )


def _down(value: float, low: float, span: float) -> float:
    return HEIGHT - MARGIN - (value - low) / span * (HEIGHT - 2 * MARGIN)
