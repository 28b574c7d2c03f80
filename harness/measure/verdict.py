"""Measured numbers compared with their references: what makes them comparable, rows, and a verdict.

Most "AP not reproduced" reports come from another protocol, not from the model; each deviation
states the value found, the value expected, and the effect of the difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.core.architecture import PROTOCOL_FIELDS, Architecture
from harness.core.checks import Check, Reference, Status, Verdict
from harness.core.engine import Precision
from harness.core.tasks import MAIN_METRICS

#: Known harm by field of the test recipe, with the thread that shows it.
HARM = {
    "score_threshold": "a threshold of 0.5 instead of 0.05 costs several AP (detectron2#663)",
    "max_detections": "AP and AR count up to 100 detections an image",
    "short_edge_px": "another test size moves AP by whole points, small objects most",
    "long_edge_max_px": "another test size moves AP by whole points, small objects most",
    "channel_order": "swapped channels cost several AP: weights expect the order of their training",
    "box_nms_iou": "another NMS threshold trades recall for duplicates",
}


#: Of weights of one's own. Where nothing is published for the data, nothing is lost by them.
UNPINNED = (
    "the checkpoint is not the pinned one: a box-only checkpoint under a mask config is "
    "how detectron2#721 lost its mask AP"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How a number was measured, as far as it affects comparability."""

    architecture: Architecture
    """With the test recipe that was used."""

    precision: Precision
    """Of the network's arithmetic."""

    batch_size: int
    """Images a batch."""

    compiled: bool = False
    """By torch.compile."""

    pinned_weights: bool
    """The checkpoint is the one the lock names."""

    evaluated_images: int
    """Images that were evaluated, of ``image_count``."""

    image_count: int
    """Images of the whole data set."""


def deviations(conditions: Conditions, published: Architecture) -> tuple[str, ...]:
    """One sentence for each way the conditions differ from the published protocol.

    Args:
        conditions: Conditions of the measurement.
        published: The architecture with the published test recipe.
    """
    found = []
    for field in PROTOCOL_FIELDS:
        used, expected = getattr(conditions.architecture, field), getattr(published, field)
        if used != expected:
            found.append(f"{field} is {used}, the protocol says {expected}: {HARM[field]}")
    if conditions.evaluated_images != conditions.image_count:
        found.append(
            f"only {conditions.evaluated_images} of {conditions.image_count} images were "
            "evaluated: AP of a subset is another number"
        )
    if conditions.batch_size != 1:
        found.append(
            f"batch size is {conditions.batch_size}, the protocol says 1: padding to a common "
            "size moves AP a little (pytorch/vision#4257)"
        )
    if conditions.precision != "fp32":
        found.append(
            f"precision is {conditions.precision}, the protocol says fp32: TF32 alone moved "
            "Detectron2's own accuracy tests out of tolerance (detectron2#5348)"
        )
    if conditions.compiled:
        found.append(
            "the network is compiled, the protocol says it is not: fused operations round "
            "differently, and equality with Detectron2 is proven without them"
        )
    if not conditions.pinned_weights:
        found.append(UNPINNED)
    return tuple(found)


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
        return (
            Status.INFORMATIONAL,
            f"{reference.role} measurement, informational: it is not judged",
        )
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
    return Status.FAIL, f"outside {reference.tolerance}"


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
            f"{_number(row.metric, row.reference.value)}, allowed {row.reference.tolerance})"
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
        f"{side} {_number(row.metric, row.reference.value)} (allowed {row.reference.tolerance})"
    )


def _spoken(metric: str) -> str:
    return SPOKEN.get(metric, metric)


def _number(metric: str, value: float | None) -> str:
    if value is None:
        return "nothing"
    return f"{value:.4f}" if metric.startswith("s_per") else f"{value:.2f}"
