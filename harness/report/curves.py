"""A training's losses and APs over its iterations, as one PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: Losses of the log, drawn in this order.
LOSSES = ("total_loss", "loss_cls", "loss_box_reg", "loss_mask", "loss_rpn_cls", "loss_rpn_loc")
APS = ("bbox/AP", "segm/AP")

#: Inches and dots an inch: 1600 × 640 px.
SIZE_IN, DPI = (16.0, 6.4), 100


def draw_curves(
    lines: Sequence[Mapping[str, Any]], path: Path, *, reference: Sequence[Mapping[str, Any]] = ()
) -> bool:
    """Write ``path`` from the lines of ``metrics.json``; False where matplotlib is missing.

    Args:
        reference: Lines of an earlier training, drawn in grey at the same share of the schedule.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=SIZE_IN, dpi=DPI, layout="constrained")
    losses, scores = figure.subplots(1, 2)
    earlier = _stretched(reference, lines)
    _line(losses, earlier, "total_loss", label="earlier training", color="0.7")
    for name in APS:
        _line(scores, earlier, name, label=f"earlier {name}", color="0.7", marker=".")
    for name in LOSSES:
        _line(losses, lines, name)
    _line(losses, lines, "validation/total_loss", marker="o")
    losses.set(xlabel="iteration", ylabel="loss", yscale="log")
    for name in APS:
        _line(scores, lines, name, marker="o")
    scores.set(xlabel="iteration", ylabel="AP", ylim=(0, None))
    for axes, corner in ((losses, "upper right"), (scores, "lower right")):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(frameon=False, loc=corner)
    figure.savefig(path)
    return True


def _stretched(
    lines: Sequence[Mapping[str, Any]], beside: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """``lines`` with iterations that end where those of ``beside`` do."""
    if not lines or not beside:
        return []
    ratio = max(one["iteration"] for one in beside) / max(one["iteration"] for one in lines)
    return [{**line, "iteration": line["iteration"] * ratio} for line in lines]


def _line(axes: Any, lines: Sequence[Mapping[str, Any]], name: str, **style: str) -> None:
    points = [(line["iteration"], line[name]) for line in lines if line.get(name) is not None]
    if points:
        axes.plot(*zip(*points, strict=True), **{"label": name, "linewidth": 1.2, **style})
