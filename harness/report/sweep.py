"""A sweep as a table and as sentences."""

from __future__ import annotations

from collections import Counter
from typing import Any

from harness.core.printable import counted
from harness.core.requests.queries import TableFormat
from harness.core.tasks import MAIN_METRICS
from harness.measure.bootstrap import Interval
from harness.measure.sweep import Choice, Mode, Setting, Sweep, SweepCell
from harness.report.tables import decimal, number, render

MODES: dict[Mode, str] = {
    "verdict": "one image at a time (verdict mode)",
    "throughput": "in batches (throughput mode)",
}
PICKED: dict[Mode, str] = {"verdict": "best at batch 1", "throughput": "best in batches"}

SPEED_COLUMNS = ("setting", "FPS", "ratio", "p50 ms", "p90 ms", "p99 ms", "memory")


def sweep_parts(sweep: Sweep, style: TableFormat) -> list[Any]:
    """The table, what it does not show, and the recommendations: for a terminal or as text."""
    bullet = "- " if style == "markdown" else ""
    notes = [explanation(sweep), *sentences_without_numbers(sweep)]
    return [
        render(columns_of(sweep), sweep_rows(sweep), style),
        "",
        *(bullet + sentence for sentence in notes),
        "",
        *(bullet + sentence for sentence in recommendations(sweep)),
    ]


def columns_of(sweep: Sweep) -> tuple[str, ...]:
    """The columns of the table, with one for each task that the model has."""
    return (
        *SPEED_COLUMNS,
        *(f"{MAIN_METRICS[name]} (95 %)" for name in sweep.reference.ap),
        "note",
    )


def sweep_rows(sweep: Sweep) -> list[tuple[str, ...]]:
    """The columns of every cell that was measured."""
    return [_row(sweep, cell) for cell in sweep.measured]


def label_of(setting: Setting) -> str:
    """A setting in words, as tables and pictures show it."""
    return setting.name.replace("-", " ")


def explanation(sweep: Sweep) -> str:
    """What the columns mean."""
    images = sweep.dataset.evaluated_images
    return (
        f"{sweep.model} on {counted(images, 'image')} of {sweep.dataset.name}, "
        f"{_device(sweep)}; FPS and latency (of a batch) are pure compute; ratio: to the "
        "reference, timed in turn; AP: the reference's own, then differences to it on the same "
        "images, with paired bootstrap intervals"
    )


def sentences_without_numbers(sweep: Sweep) -> list[str]:
    """Failed cells one by one, skipped ones by their reason."""
    failed = [cell_sentence(cell) for cell in sweep.cells if cell.status == "failed"]
    skipped = Counter(cell.reason for cell in sweep.cells if cell.status == "skipped")
    return failed + [
        f"skipped {count} setting{'' if count == 1 else 's'}: {reason}"
        for reason, count in skipped.items()
    ]


def recommendations(sweep: Sweep) -> list[str]:
    """One sentence for each mode that was measured."""
    return [f"{MODES[choice.mode]}: {_advice(sweep, choice)}" for choice in sweep.choices]


def cell_sentence(cell: SweepCell) -> str:
    """One cell in one line."""
    if cell.speed is None:
        return f"{cell.status}: {label_of(cell.setting)}: {cell.reason}"
    return f"{label_of(cell.setting)}: {_speed(cell)}{_costs(cell)}"


def flags_of(setting: Setting) -> str:
    """The options that ask for a setting."""
    compiled = " --compile" if setting.compile else ""
    return (
        f"--precision {setting.precision} --memory-format {setting.memory_format}{compiled} "
        f"--batch-size {setting.batch_size}"
    )


def interval_text(interval: Interval | None) -> str:
    """A difference in AP points and its interval."""
    if interval is None:
        return "–"
    return f"{_points(interval.difference)} ({_points(interval.low)} … {_points(interval.high)})"


def _row(sweep: Sweep, cell: SweepCell) -> tuple[str, ...]:
    assert cell.speed is not None
    speed = cell.speed
    first = cell == sweep.reference
    notes = ["reference"] if first else []
    notes += [PICKED[one.mode] for one in sweep.choices if one.setting == cell.setting]
    return (
        label_of(cell.setting),
        f"{speed.fps:.2f}",
        f"{speed.ratio:.2f}",
        *(
            f"{1e3 * seconds:.1f}"
            for seconds in (speed.latency_p50_s, speed.latency_p90_s, speed.latency_p99_s)
        ),
        number("peak_memory_bytes", float(speed.peak_memory_bytes)),
        *(decimal(cell.ap[name]) if first else interval_text(cell.delta[name]) for name in cell.ap),
        ", ".join(notes),
    )


def _advice(sweep: Sweep, choice: Choice) -> str:
    limit = f"{sweep.tolerance_ap:g} AP"
    cells = {cell.setting: cell for cell in sweep.measured}
    if choice.setting is None:
        known = [
            (one.cost_ap, label_of(one.setting))
            for one in cells.values()
            if one.setting.mode == choice.mode and one.cost_ap is not None
        ]
        if not known:
            return "AP cannot be computed on these images, so nothing is recommended"
        cost, name = min(known)
        return f"every setting costs more than {limit}; the least, {cost:.2f}, {name}"
    cell = cells[choice.setting]
    if cell == sweep.reference:
        return f"no setting within {limit} is faster than the reference, {label_of(cell.setting)}"
    doubt = ""
    if not choice.certain and cell.worst_cost_ap is not None:
        doubt = (
            f"; not certain: the interval reaches a cost of {cell.worst_cost_ap:.2f} AP, and "
            "more images would narrow it"
        )
    return (
        f"{label_of(cell.setting)} is the fastest within {limit}, {_speed(cell)}{_costs(cell)}"
        f"{doubt}; ask for it with: {flags_of(cell.setting)}"
    )


def _speed(cell: SweepCell) -> str:
    assert cell.speed is not None
    return f"{cell.speed.ratio:.2f} times the reference, {cell.speed.fps:.1f} images/s"


def _costs(cell: SweepCell) -> str:
    return "".join(
        f", {MAIN_METRICS[name]} {interval_text(one)}" for name, one in cell.delta.items()
    )


def _device(sweep: Sweep) -> str:
    speed = sweep.reference.speed
    assert speed is not None  # without it there is no sweep
    engine = speed.engine
    threads = f", {counted(engine.threads, 'thread')}" if engine.device == "cpu" else ""
    return f"{engine.name} on {engine.device_class}{threads}"


def _points(value: float) -> str:
    """AP points with a sign; what rounds to zero has a plus."""
    return f"{round(value, 2) + 0.0:+.2f}"
