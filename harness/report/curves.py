"""Curves of a training over its iterations, and AP of several runs over what they cost, as PNGs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from harness.core.errors import UsageError
from harness.core.tasks import MAIN_METRICS
from harness.files.atomic import replacing

Lines = Sequence[Mapping[str, Any]]

#: Losses of the log in the order in which they are drawn, and their colours.
LOSSES = {
    "total_loss": "tab:blue",
    "loss_cls": "tab:orange",
    "loss_box_reg": "tab:green",
    "loss_mask": "tab:red",
    "loss_keypoint": "tab:purple",
    "loss_rpn_cls": "tab:brown",
    "loss_rpn_loc": "tab:pink",
    "loss_sem_seg": "tab:olive",
}

#: Losses of images that are not learned.
OTHERS = {"validation": "black", "test": "tab:cyan"}

#: Of an earlier training.
EARLIER = "0.7"

#: Inches and dots an inch: 1600 × 640 px.
SIZE_IN, DPI = (16.0, 6.4), 100

#: Where the panels are, in shares of the figure: legends of three rows and a title fit above them.
#: To have matplotlib find out takes longer than to draw.
MARGINS = {"left": 0.045, "right": 0.99, "bottom": 0.085, "top": 0.8, "wspace": 0.2}

#: Widths of the three panels.
WIDTHS = (3, 2.4, 1.6)

#: Of the points of a curve: those that one smoothed point is the median of.
SMOOTHED_SHARE = 1 / 15


def draw_curves(lines: Lines, path: Path, *, title: str = "", reference: Lines = ()) -> bool:
    """Write ``path`` from the lines of ``metrics.json``; False where matplotlib is missing.

    Losses, AP and learning rate have a panel each; legends are above the axes, off the lines.

    Args:
        lines: Lines of losses, and of evaluations.
        path: A PNG.
        title: What was trained on what.
        reference: Lines of an earlier training, drawn in grey at the same share of the schedule.
    """
    try:
        figure = curves_figure(lines, title=title, reference=reference)
    except ImportError:
        return False
    figure.savefig(path)
    return True


def curves_figure(lines: Lines, *, title: str = "", reference: Lines = ()) -> Any:
    """The figure of ``draw_curves``.

    Args:
        lines: Lines of losses, and of evaluations.
        title: What was trained on what.
        reference: Lines of an earlier training.

    Raises:
        ImportError: matplotlib is missing.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=SIZE_IN, dpi=DPI)
    figure.subplots_adjust(**MARGINS)
    panels = figure.subplots(1, 3, width_ratios=WIDTHS)
    earlier = _stretched(reference, lines)
    _draw_losses(panels[0], lines, earlier)
    _draw_scores(panels[1], lines, earlier)
    _line(panels[2], lines, "lr", color="tab:purple")
    panels[2].set(ylabel="learning rate", ylim=(0, None))
    end = max([1, *(line["iteration"] for line in lines)])
    for axes in panels:
        axes.set(xlabel="iteration", xlim=(-0.02 * end, 1.02 * end))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.grid(alpha=0.3)
    for axes, columns in ((panels[0], 4), (panels[1], 2)):
        if axes.lines:
            axes.legend(
                frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, fontsize=9
            )
    if title:
        figure.suptitle(title)
    return figure


def _draw_losses(axes: Any, lines: Lines, earlier: Lines) -> None:
    """Draw the total loss raw and smoothed, its parts, and the losses of other images."""
    _line(axes, earlier, "total_loss", label="earlier training", color=EARLIER)
    _line(axes, lines, "total_loss", label="_raw", color="tab:blue", alpha=0.3, linewidth=0.8)
    for name, colour in LOSSES.items():
        label = "training loss" if name == "total_loss" else name
        width = 2.0 if name == "total_loss" else 1.0
        _line(axes, smoothed(lines, name), name, label=label, color=colour, linewidth=width)
    for kind, colour in OTHERS.items():
        _line(axes, lines, f"{kind}/total_loss", label=f"{kind} loss", marker="o", color=colour)
    axes.set(ylabel="loss", yscale="log")


def _draw_scores(axes: Any, lines: Lines, earlier: Lines) -> None:
    """Draw APs with a ring around the best of each, which the legend has in numbers."""
    for name in MAIN_METRICS:
        label = f"earlier {MAIN_METRICS[name]}"
        _line(axes, earlier, name, label=label, color=EARLIER, marker=".")
    highest = 0.0
    for number, name in enumerate(MAIN_METRICS):
        points = [(line["iteration"], line[name]) for line in lines if line.get(name) is not None]
        if not points:
            continue
        where, value = max(points, key=lambda point: (point[1], point[0]))
        highest = max(highest, value)
        label = f"{MAIN_METRICS[name]}, best {value:.2f} at {where:,}"
        _line(axes, lines, name, label=label, marker="o", markersize=4, color=f"C{number}")
        ring = {"marker": "o", "markersize": 10, "markerfacecolor": "none"}
        axes.plot([where], [value], label="_best", color=f"C{number}", **ring)
    axes.set(ylabel="AP", ylim=(-0.02 * _top(highest), _top(highest)))


def _top(highest: float) -> float:
    """The upper end of an axis of AP; one evaluation has room around its point."""
    return max(1.0, min(100.0, 1.25 * highest))


def smoothed(lines: Lines, name: str) -> list[dict[str, Any]]:
    """Return lines with the running median of one value around each of them."""
    points = [(line["iteration"], line[name]) for line in lines if line.get(name) is not None]
    half = max(1, round(len(points) * SMOOTHED_SHARE / 2))
    return [
        {
            "iteration": iteration,
            name: median(value for _, value in points[max(0, at - half) : at + half + 1]),
        }
        for at, (iteration, _) in enumerate(points)
    ]


def _stretched(lines: Lines, beside: Lines) -> list[dict[str, Any]]:
    """``lines`` with iterations that end where those of ``beside`` do."""
    if not lines or not beside:
        return []
    ratio = max(one["iteration"] for one in beside) / max(one["iteration"] for one in lines)
    return [{**line, "iteration": line["iteration"] * ratio} for line in lines]


def _line(axes: Any, lines: Lines, name: str, **style: Any) -> None:
    points = [(line["iteration"], line[name]) for line in lines if line.get(name) is not None]
    if points:
        marker = {"marker": "o"} if len(points) == 1 else {}
        drawn = {"label": name, "linewidth": 1.2, **marker, **style}
        axes.plot(*zip(*points, strict=True), **drawn)


class RunPoint(NamedTuple):
    """What a run found, and what it costs; a cost that is None leaves the run out of its panel."""

    name: str
    """Of the run."""

    metrics: Mapping[str, float | None]
    """AP, quality or recall by metric."""

    s_per_image: float | None
    """Seconds of an image."""

    weights_bytes: int | None
    """Size of the file of weights."""

    parameters: int | None
    """Learned numbers of the network."""

    flops: float | None
    """Arithmetic of an image."""


#: Costs of a run, and what of them is one of the unit on the axis.
COSTS = {
    "s_per_image": ("ms an image, on this machine", 1e-3),
    "weights_bytes": ("MB of weights", 1e6),
    "parameters": ("million parameters", 1e6),
    "flops": ("GFLOP an image", 1e9),
}

#: Accuracies, and the markers of their points.
MARKERS = {
    "bbox/AP": ("box AP", "o"),
    "segm/AP": ("mask AP", "s"),
    "keypoints/AP": ("keypoint AP", "^"),
    "panoptic_seg/PQ": ("PQ", "D"),
    "box_proposals/AR@1000": ("AR@1000", "v"),
}

#: Inches: 1600 × 560 px.
RUNS_SIZE_IN = (16.0, 5.6)


def distinct_names(paths: Sequence[str]) -> list[str]:
    """The ends of paths, with as many folders as make different ones distinct."""
    parts = [Path(path).parts for path in paths]
    length = 1
    while length < max(map(len, parts), default=1) and len({one[-length:] for one in parts}) < len(
        set(parts)
    ):
        length += 1
    return ["/".join(one[-length:]) for one in parts]


def draw_runs(runs: Sequence[RunPoint], path: Path) -> bool:
    """Write a plot of AP over each cost of runs; False where matplotlib is missing.

    Args:
        runs: Runs of the same images.
        path: Its ending is the format; a PNG where it has none.

    Raises:
        UsageError: matplotlib writes no such format, or nothing may be written there.
        OSError: The disk is full, or fails; it names ``path``.
    """
    try:
        figure = runs_figure(runs)
    except ImportError:
        return False
    form = path.suffix[1:].lower() or "png"
    formats = figure.canvas.get_supported_filetypes().keys() - {"pgf"}  # which needs a TeX
    if form not in formats:
        raise UsageError(
            f"cannot write {path}: no plot is written as .{form}",
            hint=f"let it end in .png, or in one of: {', '.join(sorted(formats))}",
        )
    with replacing(path) as temporary:
        figure.savefig(temporary, format=form)
    return True


def runs_figure(runs: Sequence[RunPoint]) -> Any:
    """The figure of ``draw_runs``.

    Args:
        runs: Runs of the same images.

    Raises:
        ImportError: matplotlib is missing.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=RUNS_SIZE_IN, dpi=DPI, layout="constrained")
    panels = figure.subplots(1, len(COSTS), sharey=True)
    names = distinct_names([run.name for run in runs])
    runs = [run._replace(name=name) for name, run in zip(names, runs, strict=True)]
    shown: dict[str, Any] = {}
    for axes, (cost, (label, unit)) in zip(panels, COSTS.items(), strict=True):
        values = [getattr(run, cost) for run in runs]
        _draw(axes, runs, [None if value is None else value / unit for value in values])
        axes.set(xlabel=label)
        handles, labels = axes.get_legend_handles_labels()
        shown |= dict(zip(labels, handles, strict=True))
    drawn = [
        label for name, (label, _) in MARKERS.items() if any(name in one.metrics for one in runs)
    ]
    called = ", ".join(dict.fromkeys(label.rpartition(" ")[2] for label in drawn)) or "AP"
    panels[0].set(ylabel=called)
    figure.suptitle(f"{called} of {len(runs)} runs over what they cost")
    if shown:
        figure.legend(
            shown.values(), shown.keys(), loc="outside lower center", ncols=4, frameon=False
        )
    return figure


def _draw(axes: Any, runs: Sequence[RunPoint], costs: Sequence[float | None]) -> None:
    axes.grid(alpha=0.3)
    axes.margins(0.2)
    for number, (run, x) in enumerate(zip(runs, costs, strict=True)):
        for metric, (label, marker) in MARKERS.items():
            y = run.metrics.get(metric)
            if x is None or y is None:
                continue
            axes.plot([x], [y], marker, color=f"C{number}", label=f"{run.name}: {label}")
    axes.set_xlim(0, 1.1 * max((x for x in costs if x), default=1.0))
    axes.set_ylim(bottom=0)
