"""Measured numbers compared with their references: rows, and the verdict they give together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.core.checks import Check, Reference, Status, Verdict
from harness.core.tasks import MAIN_METRICS

#: Names people use, for the verdict's sentence.
SPOKEN = {**MAIN_METRICS, "s_per_image": "seconds per image"}


def check_references(
    references: Sequence[Reference],
    measured: Mapping[str, float | None],
    *,
    dataset: str,
    deviations: Sequence[str],
    device_class: str | None = None,
) -> tuple[Check, ...]:
    """One row for each reference that belongs to the data set and to a metric that was measured.

    Args:
        references: Published or accepted numbers.
        measured: By metric, in the references' units; None where undefined.
        dataset: Name of the data set; references of another are left out.
        deviations: What makes accuracy not comparable; every judged accuracy row then reports it
            instead of passing or failing.
        device_class: Where a speed was measured; a speed of another device is not comparable
            either.
    """
    rows = []
    for reference in references:
        if reference.metric not in measured or reference.dataset not in (None, dataset):
            continue
        value = measured[reference.metric]
        delta = None if value is None else value - reference.value
        status, reason = _judge(reference, value, deviations, device_class)
        rows.append(
            Check(
                metric=reference.metric,
                measured=value,
                reference=reference,
                delta=delta,
                status=status,
                reason=reason,
            )
        )
    return tuple(rows)


def unreferenced(
    metrics: Sequence[str], measured: Mapping[str, float | None], checks: Sequence[Check]
) -> tuple[Check, ...]:
    """A row for each metric that was measured and has no judged reference.

    Args:
        metrics: The ones to look at, in the order of the rows.
        measured: By metric.
        checks: Rows of ``check_references``.
    """
    judged = {row.metric for row in checks}
    return tuple(
        Check(
            metric=metric,
            measured=measured[metric],
            reference=None,
            delta=None,
            status=Status.NO_REFERENCE,
            reason="no reference for this data set and device",
        )
        for metric in metrics
        if metric in measured and metric not in judged
    )


def _judge(
    reference: Reference, value: float | None, deviations: Sequence[str], device_class: str | None
) -> tuple[Status, str]:
    if reference.tolerance is None:
        return Status.SHOWN, f"{reference.role} measurement, shown and not judged"
    if reference.device_class is not None and reference.device_class != device_class:
        return (
            Status.NOT_COMPARABLE,
            f"measured on {device_class or 'an unknown device'}, "
            f"published for {reference.device_class}",
        )
    if deviations:
        return Status.NOT_COMPARABLE, "; ".join(deviations)
    if value is None:
        return Status.MISSING, "the number could not be computed"
    if reference.tolerance.accepts(value - reference.value):
        return Status.PASS, ""
    return Status.FAIL, f"outside {_allowed(reference)}"


def conclude(checks: Sequence[Check], *, require_reference: bool = False) -> Verdict:
    """The verdict of all rows together; one failing or missing row fails it.

    Args:
        checks: Rows of one run.
        require_reference: A verdict in which no row could be judged fails, too.
    """
    passed = [row for row in checks if row.status is Status.PASS]
    failed = [row for row in checks if row.status in (Status.FAIL, Status.MISSING)]
    if failed:
        return Verdict(outcome="fail", line="NOT REPRODUCED: " + "; ".join(map(_miss, failed)))
    if passed:
        parts = [
            f"{_spoken(row.metric)} {_number(row.metric, row.measured)} (reference "
            f"{_number(row.metric, row.reference.value)}, allowed {_allowed(row.reference)})"
            for row in passed
            if row.reference is not None
        ]
        return Verdict(outcome="pass", line="REPRODUCED: " + ", ".join(parts))
    blocked = next((row for row in checks if row.status is Status.NOT_COMPARABLE), None)
    line = (
        "NO REFERENCE: there is no published number for this data set and device"
        if blocked is None
        else f"NOT COMPARABLE: {blocked.reason}"
    )
    return Verdict(outcome="fail" if require_reference else "nothing-to-compare", line=line)


def _miss(row: Check) -> str:
    name = _spoken(row.metric)
    if row.measured is None or row.reference is None or row.delta is None:
        return f"{name} is missing: {row.reason}"
    side = "above" if row.delta > 0 else "below"
    return (
        f"{name} {_number(row.metric, row.measured)} is {_number(row.metric, abs(row.delta))} "
        f"{side} {_number(row.metric, row.reference.value)} (allowed {_allowed(row.reference)})"
    )


def _allowed(reference: Reference) -> str:
    tolerance = reference.tolerance
    if tolerance is None:
        return "any"
    if tolerance.below == tolerance.above:
        return f"±{tolerance.below:g}"
    below = "any" if tolerance.below is None else f"-{tolerance.below:g}"
    above = "any" if tolerance.above is None else f"+{tolerance.above:g}"
    return f"{below}…{above}"


def _spoken(metric: str) -> str:
    return SPOKEN.get(metric, metric)


def _number(metric: str, value: float | None) -> str:
    if value is None:
        return "nothing"
    return f"{value:.4f}" if metric.startswith("s_per") else f"{value:.2f}"
