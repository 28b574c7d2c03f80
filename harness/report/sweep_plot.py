"""A sweep as a picture: how much faster a setting is, and what it costs in AP.

The layout is computed once, in units of an SVG; the page draws it as SVG, matplotlib as PNG.
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.engine import Precision
from harness.core.tasks import MAIN_METRICS
from harness.measure.sweep import Setting, Sweep
from harness.report.sweep import label_of

#: Of a label: its height, and about what a character takes.
LABEL_HEIGHT, CHARACTER = 14.0, 6.1

#: Half the side of what a dot keeps free, and the gap between a dot and its name.
DOT, GAP = 6.0, 10.0

#: Heights of a label that a name may move up and down, and units that it may move aside.
ROWS = 24
SHIFTS = (0.0, 20.0, 45.0, 80.0)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, y downwards."""

    left: float
    """Smallest x."""

    top: float
    """Smallest y."""

    right: float
    """Largest x."""

    bottom: float
    """Largest y."""

    def meets(self, other: Box) -> bool:
        """Whether they overlap."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def holds(self, other: Box) -> bool:
        """Whether the other is wholly inside."""
        return (
            self.left <= other.left
            and other.right <= self.right
            and self.top <= other.top
            and other.bottom <= self.bottom
        )


def place_labels(
    labels: Sequence[str],
    dots: Sequence[tuple[float, float]],
    bars: Sequence[Box],
    frame: Box,
    texts: Sequence[Box] = (),
) -> list[Box]:
    """A place for each dot's label: the nearest that is free, beside its dot if it can be.

    Args:
        dots: (x, y).
        bars: What labels avoid as well, where there is room. A label without a free place is put to
            the right of its dot.
        frame: Where labels have to be.
        texts: Other text of the plot, which no label may cover.
    """
    taken = [Box(x - DOT, y - DOT, x + DOT, y + DOT) for x, y in dots] + list(texts)
    places: dict[int, Box] = {}
    for number in sorted(range(len(dots)), key=lambda one: dots[one]):
        candidates = [box for box in _around(labels[number], *dots[number]) if frame.holds(box)]
        free = [box for box in candidates if not any(box.meets(other) for other in taken)]
        clear = (box for box in free if not any(box.meets(bar) for bar in bars))
        place = next(clear, None) or next(iter(free), None)
        places[number] = place or _around(labels[number], *dots[number])[0]
        taken.append(places[number])
    return [places[number] for number in range(len(dots))]


def _around(label: str, x: float, y: float) -> list[Box]:
    """Places around a dot, nearest first; of those on its height the right one first."""
    width = CHARACTER * len(label)
    sides = [(x + GAP + more, x - GAP - width - more) for more in SHIFTS]
    lefts = [left for pair in sides for left in pair] + [x - width / 2]
    found = []
    for row in range(-ROWS, ROWS + 1):
        top = y + row * LABEL_HEIGHT - LABEL_HEIGHT / 2
        for left in lefts if row else lefts[:-1]:
            box = Box(left, top, left + width, top + LABEL_HEIGHT)
            found.append((_distance(box, x, y) - (LABEL_HEIGHT if row == 0 else 0), box))
    return [box for _, box in sorted(found, key=lambda one: one[0])]


def _distance(box: Box, x: float, y: float) -> float:
    """From a point outside to the nearest edge of a box."""
    return math.hypot(max(box.left - x, 0, x - box.right), max(box.top - y, 0, y - box.bottom))


def ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Round numbers at equal steps (1, 2 or 5 times a power of ten) around ``low`` … ``high``.

    low must be below high.
    """
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for step in (power, 2 * power, 5 * power, 10 * power, 20 * power):
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first <= most:
            break
    return [round(number * step, 12) for number in range(first, last + 1)]


#: Size of a plot, and its room for the labels of both axes.
WIDTH, HEIGHT = 720, 440
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 34, 50

#: Of a dot; and half the width of an interval's ends.
RADIUS, CAP = 4.5, 4.0

X_TITLE = "times as fast as the reference"

#: Grey, and three that people who see few colours tell apart, on white and on black.
COLOURS: dict[Precision, str] = {
    "fp32": "#6e7781",
    "tf32": "#8250df",
    "bf16": "#218bff",
    "fp16": "#e16f24",
}

#: AP points above and below zero that a plot shows at least: noise that fills it looks like news.
LEAST_RANGE = 0.1

#: Pixels of the PNG a unit; typographic points a unit.
SCALE = 1.5
POINTS = SCALE * 72 / 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """One setting."""

    setting: Setting
    """What was measured."""

    picked: bool
    """Whether the sweep recommends it."""

    label: str
    """Its name in the plot."""

    colour: str
    """CSS colour of its precision."""

    x: float
    """Position of its speed."""

    y: float
    """Position of its AP."""

    low_y: float
    """Lower end of the interval."""

    high_y: float
    """Upper end of the interval."""

    box: Box
    """Where the label is."""

    @property
    def leader(self) -> tuple[float, float]:
        """Where a line from the dot ends: at the nearest point of the name's box."""
        across = min(max(self.x, self.box.left - 2), self.box.right + 2)
        return across, min(max(self.y, self.box.top), self.box.bottom)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """The plot of one task."""

    title: str
    """Title of the plot."""

    dots: tuple[Dot, ...]
    """One for each setting."""

    x_ticks: tuple[tuple[float, str], ...]
    """(position, text)."""

    y_ticks: tuple[tuple[float, str], ...]
    """(position, text)."""

    zero_y: float
    """Position of no difference in AP."""

    tolerance_y: float
    """Position of the tolerance."""

    tolerance: str
    """Text at that line."""

    precisions: tuple[tuple[str, str], ...]
    """(name, CSS colour)."""


def plots_of(sweep: Sweep) -> list[Plot]:
    """One plot for each task whose AP could be computed."""
    names = [name for name, one in sweep.reference.delta.items() if one is not None]
    return [_plot(sweep, name) for name in names]


def _plot(sweep: Sweep, name: str) -> Plot:
    found = [
        (cell.setting, cell.speed.ratio, interval)
        for cell in sweep.measured
        if cell.speed is not None and (interval := cell.delta[name]) is not None
    ]
    tolerance = sweep.tolerance_ap
    points = [value for _, _, one in found for value in (one.low, one.difference, one.high)]
    ratios = [ratio for _, ratio, _ in found]
    x_ticks = ticks(0.9 * min(ratios), 1.05 * max(ratios))
    y_ticks = ticks(min(-1.5 * tolerance, -LEAST_RANGE, *points), max(LEAST_RANGE, *points))

    def across(ratio: float) -> float:
        share = (ratio - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        return LEFT + (WIDTH - LEFT - RIGHT) * share

    def down(value: float) -> float:
        share = (y_ticks[-1] - value) / (y_ticks[-1] - y_ticks[0])
        return TOP + (HEIGHT - TOP - BOTTOM) * share

    text = f"tolerated cost: {tolerance:g}"
    dots = _labelled(
        [
            (setting, across(ratio), down(one.difference), down(one.low), down(one.high))
            for setting, ratio, one in found
        ],
        picked={choice.setting for choice in sweep.choices},
        texts=[_beside_line(text, down(-tolerance))],
    )
    precisions = dict.fromkeys(setting.precision for setting, _, _ in found)
    return Plot(
        title=f"{MAIN_METRICS[name]}: points of difference to the reference, with 95 % intervals",
        dots=dots,
        x_ticks=tuple((across(value), f"{value:g}") for value in x_ticks),
        y_ticks=tuple((down(value), f"{value:+g}" if value else "0") for value in y_ticks),
        zero_y=down(0.0),
        tolerance_y=down(-tolerance),
        tolerance=text,
        precisions=tuple((one, COLOURS[one]) for one in precisions),
    )


def _beside_line(text: str, y: float) -> Box:
    """Where the text below the line of the tolerance is, at its right end."""
    right = WIDTH - RIGHT
    return Box(right - CHARACTER * len(text), y, right, y + LABEL_HEIGHT)


def _labelled(
    places: Sequence[tuple[Setting, float, float, float, float]],
    picked: Container[Setting | None],
    texts: Sequence[Box],
) -> tuple[Dot, ...]:
    """Return the dots with their labels placed.

    Args:
        places: Setting, x, y and both ends of the interval, the lower value first.
        picked: What is recommended.
        texts: What no label may cover.
    """
    boxes = place_labels(
        [label_of(setting) for setting, *_ in places],
        [(x, y) for _, x, y, _, _ in places],
        [Box(x - CAP, high, x + CAP, low) for _, x, _, low, high in places],
        Box(LEFT, TOP, WIDTH, HEIGHT - BOTTOM),
        texts,
    )
    return tuple(
        Dot(
            setting=setting,
            picked=setting in picked,
            label=label_of(setting),
            colour=COLOURS[setting.precision],
            x=x,
            y=y,
            low_y=low,
            high_y=high,
            box=box,
        )
        for (setting, x, y, low, high), box in zip(places, boxes, strict=True)
    )


def draw_sweep(sweep: Sweep, path: Path) -> bool:
    """Write the plots side by side to ``path``; False without matplotlib, or without an AP."""
    plots = plots_of(sweep)
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    if not plots:
        return False
    size_in = (len(plots) * WIDTH * SCALE / 100, HEIGHT * SCALE / 100)
    figure = Figure(figsize=size_in, dpi=100)
    for number, plot in enumerate(plots):
        axes = figure.add_axes((number / len(plots), 0, 1 / len(plots), 1))
        axes.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0))
        axes.axis("off")
        _draw_frame(axes, plot)
        for dot in plot.dots:
            _draw_dot(axes, dot)
    figure.savefig(path)
    return True


def _draw_frame(axes: Any, plot: Plot) -> None:
    right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
    small = {"fontsize": 11 * POINTS, "color": "0.35"}
    axes.text(LEFT, TOP - 14, plot.title, fontsize=13 * POINTS, va="center")
    for y, text in plot.y_ticks:
        axes.plot((LEFT, right), (y, y), color="0.92", linewidth=0.8, zorder=0)
        axes.text(LEFT - 6, y, text, ha="right", va="center", **small)
    for x, text in plot.x_ticks:
        axes.plot((x, x), (TOP, floor), color="0.92", linewidth=0.8, zorder=0)
        axes.text(x, floor + 12, text, ha="center", va="center", **small)
    axes.plot((LEFT, right), (plot.zero_y,) * 2, color="0.4", linewidth=1)
    axes.plot((LEFT, right), (plot.tolerance_y,) * 2, color="#9a6700", linewidth=1, linestyle="--")
    axes.text(right, plot.tolerance_y + 8, plot.tolerance, ha="right", va="center", **small)
    axes.text((LEFT + right) / 2, HEIGHT - 12, X_TITLE, ha="center", va="center", **small)
    for number, (name, colour) in enumerate(plot.precisions):
        axes.plot(LEFT + 8 + 60 * number, HEIGHT - 12, "o", color=colour)
        axes.text(LEFT + 18 + 60 * number, HEIGHT - 12, name, va="center", **small)


def _draw_dot(axes: Any, dot: Dot) -> None:
    from matplotlib.patheffects import withStroke

    axes.plot((dot.x, dot.x), (dot.low_y, dot.high_y), color=dot.colour, linewidth=1.2, alpha=0.7)
    for end in (dot.low_y, dot.high_y):
        axes.plot((dot.x - CAP, dot.x + CAP), (end, end), color=dot.colour, linewidth=1.2)
    axes.plot((dot.x, dot.leader[0]), (dot.y, dot.leader[1]), color="0.55", linewidth=0.7, zorder=1)
    marker = "o" if dot.setting.mode == "verdict" else "s"
    axes.plot(dot.x, dot.y, marker, color=dot.colour, markersize=2 * RADIUS * POINTS)
    if dot.picked:
        axes.plot(
            *(dot.x, dot.y, "o"), mfc="none", color=dot.colour, markersize=4 * RADIUS * POINTS
        )
    axes.text(
        dot.box.left,
        (dot.box.top + dot.box.bottom) / 2,
        dot.label,
        va="center",
        fontsize=11 * POINTS,
        weight="bold" if dot.picked else "normal",
        # Lines and intervals run behind a label, not through it.
        path_effects=[withStroke(linewidth=4 * POINTS, foreground="white")],
        zorder=5,
    )
