"""A profile as tables, as sentences and as a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.core.engine import EngineInfo
from harness.core.requests.queries import TableFormat
from harness.measure.profile import (
    OperatorCost,
    Peak,
    Profile,
    StageCost,
    copy_share,
    least_seconds,
    product_share,
    whole,
)
from harness.report.tables import render

STAGE_COLUMNS = (
    *("stage", "ms/image", "time", "GFLOP", "GFLOP/s", "of peak"),
    *("GB/s", "of copy", "parameters"),
)
OPERATOR_COLUMNS = ("operator", "calls/image", "CPU ms", "GPU ms", "time")

#: Operators in the table; ``profile.json`` has them all.
OPERATORS_SHOWN = 12

#: Inches and dots an inch: 1200 × 600 px.
SIZE_IN, DPI = (12.0, 6.0), 100


def profile_parts(profile: Profile, style: TableFormat) -> list[Any]:
    """Both tables and the sentences, for a terminal or as text."""
    bullet = "- " if style == "markdown" else ""
    return [
        render(STAGE_COLUMNS, stage_rows(profile), style),
        "",
        render(OPERATOR_COLUMNS, operator_rows(profile.operators), style),
        "",
        *(bullet + sentence for sentence in profile.explanation),
    ]


def stage_rows(profile: Profile) -> list[tuple[str, ...]]:
    """STAGE_COLUMNS of every stage, then of all together."""
    total = whole(profile.stages)
    return [_stage_row(one, total, profile.peak) for one in (*profile.stages, total)]


def operator_rows(operators: Sequence[OperatorCost]) -> list[tuple[str, ...]]:
    """OPERATOR_COLUMNS of the longest operators, and one row for all the others."""
    shown, others = operators[:OPERATORS_SHOWN], operators[OPERATORS_SHOWN:]
    if others:
        rest = OperatorCost(
            operator=f"{len(others)} others",
            calls=sum(one.calls for one in others),
            cpu_s=sum(one.cpu_s for one in others),
            device_s=sum(one.device_s for one in others),
            share=sum(one.share for one in others),
        )
        shown = (*shown, rest)
    return [
        (
            one.operator,
            f"{one.calls:.1f}",
            f"{1e3 * one.cpu_s:.2f}",
            f"{1e3 * one.device_s:.2f}" if one.device_s else "–",
            f"{one.share:.1%}",
        )
        for one in shown
    ]


def explain(profile: Profile) -> tuple[str, ...]:
    """What the numbers say, in a few sentences."""
    peak, total = profile.peak, whole(profile.stages)
    most = max(profile.stages, key=lambda one: one.seconds)
    other_s = sum(one.seconds for one in profile.stages if not one.flops)
    least_s = sum(least_seconds(one, peak) for one in profile.stages)
    cost = profile.overhead
    return (
        f"{most.stage} takes most: {most.seconds / total.seconds:.0%} of the {_ms(total.seconds)} "
        f"an image{_rate(most, peak)}",
        f"measured peak of {profile.engine.device_class} ({_computing(profile.engine)}): "
        f"{peak.flops_per_s / 1e9:,.0f} GFLOP/s ({peak.product}), "
        f"{peak.bytes_per_s / 1e9:,.1f} GB/s (copy of {peak.copy})",
        f"an image is {total.flops / 1e9:.2f} GFLOP, done at {_gflops(total)} GFLOP/s: "
        f"{product_share(total, peak) or 0:.0%} of that peak",
        f"with every stage at its peak, of arithmetic or of copying, an image would take "
        f"{_ms(least_s)}",
        f"stages without a convolution or matrix product take {other_s / total.seconds:.0%}: "
        "faster arithmetic does not help there",
        *_operator_sentences(profile),
        f"marking the stages cost {cost.stages:+.0%} and tracing the operators "
        f"{cost.operators:+.0%} of the {_ms(profile.seconds)} without; the speed of the bench was "
        "measured before, with neither",
    )


def draw_profile(profile: Profile, path: Path) -> bool:
    """Write a picture of the stages to ``path``; False where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=SIZE_IN, dpi=DPI, layout="constrained")
    time, share = figure.subplots(1, 2, sharey=True)
    names = [one.stage for one in profile.stages]
    bars = time.barh(names, [1e3 * one.seconds for one in profile.stages], color="tab:blue")
    time.bar_label(bars, fmt="%.1f", padding=3)
    time.margins(x=0.12)  # room for the labels
    time.invert_yaxis()
    time.set(xlabel="ms per image", title=_title(profile.engine))
    kinds: tuple[tuple[str, Callable[[StageCost, Peak], float | None], float], ...] = (
        ("operations, of the measured product", product_share, -0.2),
        ("bytes moved, of the measured copy", copy_share, 0.2),
    )
    for label, of, shift in kinds:
        values = [100 * (of(one, profile.peak) or 0.0) for one in profile.stages]
        share.barh([place + shift for place in range(len(names))], values, height=0.4, label=label)
    share.axvline(100, color="black", linewidth=0.8)
    share.set(xlabel="% of the measured peak")
    share.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    for axes in (time, share):
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
    figure.savefig(path)
    return True


def _stage_row(cost: StageCost, total: StageCost, peak: Peak) -> tuple[str, ...]:
    arithmetic, copying = product_share(cost, peak), copy_share(cost, peak)
    return (
        cost.stage,
        f"{1e3 * cost.seconds:.2f}",
        f"{cost.seconds / total.seconds:.1%}",
        "–" if arithmetic is None else f"{cost.flops / 1e9:.2f}",
        "–" if arithmetic is None else f"{cost.flops / cost.seconds / 1e9:.1f}",
        "–" if arithmetic is None else f"{arithmetic:.0%}",
        "–" if copying is None else f"{cost.moved_bytes / cost.seconds / 1e9:.1f}",
        "–" if copying is None else f"{copying:.0%}",
        f"{cost.parameters / 1e6:.2f} M" if cost.parameters else "–",
    )


def _rate(cost: StageCost, peak: Peak) -> str:
    """How near a stage comes to the peak, as the end of a sentence."""
    arithmetic, copying = product_share(cost, peak), copy_share(cost, peak)
    if arithmetic is not None:
        return f", at {_gflops(cost)} GFLOP/s, {arithmetic:.0%} of the measured peak"
    if copying is not None:
        rate = f"{cost.moved_bytes / cost.seconds / 1e9:,.1f} GB/s"
        return f", moving {rate}, {copying:.0%} of the measured copy"
    return ""


def _operator_sentences(profile: Profile) -> tuple[str, ...]:
    if not profile.operators:
        return ()
    first = profile.operators[0]
    on_device = any(one.device_s for one in profile.operators)
    where = "GPU" if on_device else "CPU"
    sentence = (
        f"of the operators, {first.operator} takes most: {first.share:.0%} of their time on the "
        f"{where}, in {first.calls:.0f} calls an image"
    )
    if profile.engine.device.startswith("cuda") and not on_device:
        return sentence, "no kernel was seen on the GPU: trace.log says what the tracer said"
    return (sentence,)


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.1f} ms"


def _gflops(cost: StageCost) -> str:
    return f"{cost.flops / cost.seconds / 1e9:,.0f}"


def _computing(info: EngineInfo) -> str:
    threads = f"{info.threads} thread{'' if info.threads == 1 else 's'}, "
    return ("" if info.device.startswith("cuda") else threads) + info.precision


def _title(info: EngineInfo) -> str:
    return f"{info.name} on {info.device_class}, {_computing(info)}"
