"""AP of several runs over the time and the size of their networks, as one PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: Name, AP by metric, seconds of an image, parameters.
Row = tuple[str, Mapping[str, float | None], float | None, int | None]

#: AP and the marker of its points.
MARKERS = {"bbox/AP": ("box AP", "o"), "segm/AP": ("mask AP", "s")}

#: Inches and dots an inch: 1300 × 560 px.
SIZE_IN, DPI = (13.0, 5.6), 100


def draw_runs(rows: Sequence[Row], path: Path) -> bool:
    """Write a plot of runs; False where matplotlib is missing.

    Args:
        rows: A run each; a number that is None leaves the run out of that panel.
        path: A PNG.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=SIZE_IN, dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _draw(left, [(row, None if row[2] is None else 1000 * row[2]) for row in rows])
    _draw(right, [(row, None if row[3] is None else row[3] / 1e6) for row in rows])
    left.set(xlabel="ms an image, on this machine", ylabel="AP")
    right.set(xlabel="million parameters")
    handles, labels = left.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False)
    figure.savefig(path)
    return True


def _draw(axes: Any, points: Sequence[tuple[Row, float | None]]) -> None:
    axes.grid(alpha=0.3)
    axes.margins(0.2)
    for number, ((name, metrics, _, _), x) in enumerate(points):
        for metric, (label, marker) in MARKERS.items():
            y = metrics.get(metric)
            if x is None or y is None:
                continue
            axes.plot([x], [y], marker, color=f"C{number}", label=f"{Path(name).name}: {label}")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
