"""Accepted numbers of earlier runs: ``results/reference.json``, read, applied and proposed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from harness.core.checks import Reference, Tolerance
from harness.core.nightly import Baseline, Baselines
from harness.core.record import RunRecord
from harness.core.tasks import MAIN_METRICS
from harness.files.atomic import write_text
from harness.files.json import dumps, read, to_plain, to_typed

#: Numbers that are accepted and compared; everything else of a record is only kept.
ACCEPTED = (*MAIN_METRICS, "s_per_image")

#: Around an accepted AP: the same weights on the same device, whose sums may come out in another
#: order. Around an accepted time: what a quiet machine varies by.
AP_TOLERANCE = Tolerance(below=0.05, above=0.05, source="chosen: the same weights, data and device")
SPEED_SHARE = 0.1


def read_baselines(path: Path) -> Baselines:
    """Return the accepted numbers; none when the file is not there.

    Raises:
        IntegrityError: The file is damaged, or has other fields than expected.
    """
    if not path.is_file():
        return Baselines()
    return to_typed(Baselines, read(path), where=str(path))


def references_of(baselines: Baselines, record: RunRecord) -> tuple[Reference, ...]:
    """Return the accepted numbers that are valid for a record, as references.

    Args:
        baselines: All accepted numbers.
        record: A run of the same model, data, engine, precision, batch size and device class.

    Raises:
        ValueError: The record is of a kind that runs no engine.
    """
    key = _key(record)
    return tuple(_reference(one) for one in baselines.baselines if _same(one, key))


def proposed(baselines: Baselines, records: Iterable[RunRecord], accepted_utc: str) -> Baselines:
    """Return the accepted numbers with those of new records in place of the earlier ones.

    Args:
        baselines: What is accepted now.
        records: Runs whose `ACCEPTED` metrics replace those accepted for the same conditions.
        accepted_utc: ISO time that is written beside each new number.

    Raises:
        ValueError: A record is of a kind that runs no engine.
    """
    kept = list(baselines.baselines)
    for record in records:
        key = _key(record)
        for metric in ACCEPTED:
            value = record.metrics.get(metric)
            if value is None:
                continue
            kept = [one for one in kept if not (one.metric == metric and _same(one, key))]
            kept.append(
                replace(
                    key,
                    metric=metric,
                    value=round(value, 6),
                    run_id=record.run_id,
                    accepted_utc=accepted_utc,
                )
            )
    order = sorted(kept, key=lambda one: (one.model, one.engine, one.precision, one.metric))
    return Baselines(baselines=tuple(order))


def propose(path: Path, baselines: Baselines) -> str:
    """Write a proposal, for a person to commit.

    Args:
        path: The file it replaces.
        baselines: What would be accepted.

    Returns:
        The change as a unified diff; empty when nothing changes.
    """
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    after = dumps(to_plain(baselines), indent=1) + "\n"
    write_text(path, after)
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"{path} before", str(path), lineterm=""
    )
    return "\n".join(lines)


def _key(record: RunRecord) -> Baseline:
    """Return what a number of ``record`` is valid for; metric and value are still to be filled in.

    Raises:
        ValueError: The record is of a kind that runs no engine.
    """
    if record.engine is None:
        raise ValueError(f"{record.run_id} ran no engine")
    inference = record.request["inference"]
    return Baseline(
        model=inference["model"],
        dataset_digest=record.dataset.digest,
        evaluated_images=record.dataset.evaluated_images,
        engine=record.engine.name,
        precision=record.engine.precision,
        batch_size=inference["batch_size"],
        device_class=record.engine.device_class,
        metric="",
        value=0.0,
        run_id="",
        accepted_utc="",
    )


def _same(one: Baseline, key: Baseline) -> bool:
    blank = {"metric": "", "value": 0.0, "run_id": "", "accepted_utc": ""}
    return replace(one, **blank) == key  # type: ignore[arg-type]


def _reference(one: Baseline) -> Reference:
    speed = one.metric == "s_per_image"
    slower = Tolerance(
        below=None, above=SPEED_SHARE * one.value, source="chosen: a tenth of the accepted time"
    )
    return Reference(
        metric=one.metric,
        value=one.value,
        tolerance=slower if speed else AP_TOLERANCE,
        device_class=one.device_class if speed else None,
        role="accepted",
        source=f"accepted from {one.run_id}",
    )
