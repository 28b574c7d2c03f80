"""Series of nights: where they drifted, and how they look."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from harness.core.tasks import MAIN_METRICS
from harness.files.extras import install_command
from harness.files.history import Point
from harness.measure.drift import SETTLING, Drift, Levels, Recovered, find_levels

#: What trends are shown of.
WATCHED = (*MAIN_METRICS, "s_per_image")

BARS = "▁▂▃▄▅▆▇█"

#: Size of a plot in SVG units, and its room for the labels of both axes.
WIDTH, HEIGHT = 300, 130
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 20, 20

#: A plot shows no smaller range than this: noise that fills a plot looks like news. An AP's is the
#: width of what a published one may be off (±0.1), a time's a share of itself.
LEAST_AP_SPAN, LEAST_TIME_SHARE = 0.2, 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """One metric of one cell on one device, night by night, oldest first."""

    cell: str
    """Name of the cell."""

    device_class: str
    """Where it was measured."""

    metric: str
    """Name of the metric."""

    nights: tuple[str, ...]
    """Ids of the nights with a value."""

    values: tuple[float, ...]
    """One for each of these nights."""

    drift: Drift | None
    """Where it is off its level; None when it is on it."""

    recovered: tuple[Recovered, ...] = ()
    """Where it was off its level earlier, oldest first."""

    why_not: str = ""
    """Why drifts were not looked for; empty where they were."""


def trends_of(points: Sequence[Point]) -> list[Trend]:
    """A trend for each cell, device and watched metric."""
    series: dict[tuple[str, str, str], list[Point]] = defaultdict(list)
    for point in points:
        if point.metric in WATCHED and point.value is not None:
            series[(point.cell, point.device_class, point.metric)].append(point)
    trends = []
    for (cell, device_class, metric), found in sorted(series.items()):
        values = tuple(float(point.value or 0.0) for point in found)
        levels, why_not = _levels(values)
        trends.append(
            Trend(
                cell=cell,
                device_class=device_class,
                metric=metric,
                nights=tuple(point.night_id for point in found),
                values=values,
                drift=levels.drift,
                recovered=levels.recovered,
                why_not=why_not,
            )
        )
    return trends


def _levels(values: Sequence[float]) -> tuple[Levels, str]:
    """Drifts of a series; or why they were not looked for."""
    if len(values) <= SETTLING:
        return Levels(), ""
    try:
        return find_levels(values), ""
    except ImportError as error:
        return Levels(), f"not looked for: needs {error.name}; run: {install_command('nights')}"


def sentence_of(trend: Trend) -> str:
    """The drift of a trend in words, or why it was not looked for; empty without one."""
    if trend.drift is None:
        return trend.why_not
    change, level = trend.drift.change, trend.drift.level
    began = trend.nights[trend.drift.began]
    return f"{change:+.3g} since night {began} (from {level:.4g}{_share(change, level)})"


def past_of(trend: Trend) -> list[str]:
    """The drifts of a trend that are over, in words."""
    return [
        f"{one.change:+.3g}{_share(one.change, one.level)} "
        f"from night {trend.nights[one.began]} until night {trend.nights[one.ended]}"
        for one in trend.recovered
    ]


def drifts_of(trend: Trend) -> str:
    """The drift of a trend and those that are over in one line; empty where there is none."""
    over = [f"over: {text}" for text in past_of(trend)]
    return "; ".join(filter(None, (sentence_of(trend), *over)))


def _share(change: float, level: float) -> str:
    return f", {change / level:+.1%}" if level else ""


def sparkline(values: Sequence[float], width: int = 30) -> str:
    """The last ``width`` values as blocks; a flat series is a flat line."""
    shown = values[-width:]
    low, high = min(shown), max(shown)
    if high == low:
        return BARS[3] * len(shown)
    return "".join(BARS[round((value - low) / (high - low) * 7)] for value in shown)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A trend in SVG units, (0, 0) at the top left of WIDTH × HEIGHT."""

    points: str
    """Points of an SVG polyline."""

    last: tuple[float, float]
    """Its last point."""

    low: float
    """Value at the lower end of the y axis."""

    high: float
    """Value at the upper end of the y axis."""

    drift_x: float | None
    """Position at which a drift began; None without one."""


def plot_of(trend: Trend, night_ids: Sequence[str]) -> Plot:
    """Return the plot of a trend.

    Args:
        night_ids: All nights, oldest first; a trend need not have a value for each.
    """
    position = {night_id: number for number, night_id in enumerate(night_ids)}
    low, high = _range(trend)
    step = (WIDTH - LEFT - RIGHT) / max(len(night_ids) - 1, 1)
    across = [LEFT + position[night_id] * step for night_id in trend.nights]
    down = [TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM) for value in trend.values]
    return Plot(
        points=" ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, down, strict=True)),
        last=(round(across[-1], 1), round(down[-1], 1)),
        low=low,
        high=high,
        drift_x=None if trend.drift is None else round(across[trend.drift.began], 1),
    )


def _range(trend: Trend) -> tuple[float, float]:
    """Ends of the y axis, around all values."""
    low, high = min(trend.values), max(trend.values)
    least = LEAST_AP_SPAN if "AP" in trend.metric else LEAST_TIME_SHARE * (high or 1.0)
    missing = max(least - (high - low), 0.0)
    return low - missing / 2, high + missing / 2
