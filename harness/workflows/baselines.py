"""Accepted numbers of ours: ``results/reference.json``, read, applied and proposed anew."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from harness.core.checks import Reference, Tolerance
from harness.core.nightly import Baseline, Baselines
from harness.core.record import RunRecord
from harness.files.atomic import write_text
from harness.files.json import dumps, read, to_plain, to_typed

#: Numbers that are accepted and compared; everything else of a record is only kept.
ACCEPTED = ("bbox/AP", "segm/AP", "s_per_image")

#: Around an accepted AP: the same weights on the same device, whose sums may come out in another
#: order. Around an accepted time: what a quiet machine varies by.
AP_TOLERANCE = Tolerance(below=0.05, above=0.05, source="chosen: the same weights, data and device")
SPEED_SHARE = 0.1


def read_baselines(path: Path) -> Baselines:
    """The accepted numbers; none when the file is not there."""
    if not path.is_file():
        return Baselines()
    return to_typed(Baselines, read(path), where=str(path))


def references_of(baselines: Baselines, record: RunRecord) -> tuple[Reference, ...]:
    """The accepted numbers that are valid for ``record``, as references."""
    key = _key(record)
    return tuple(_reference(one) for one in baselines.baselines if _same(one, key))


def proposed(baselines: Baselines, records: Iterable[RunRecord], accepted_utc: str) -> Baselines:
    """``baselines`` with the numbers of ``records`` in place of what was accepted for the same."""
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
    """Write ``baselines`` to ``path``, for a person to commit; the change as a unified diff."""
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    after = dumps(to_plain(baselines), indent=1) + "\n"
    write_text(path, after)
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"{path} before", str(path), lineterm=""
    )
    return "\n".join(lines)


def _key(record: RunRecord) -> Baseline:
    """What a number of ``record`` is valid for; its metric and value are still to be filled in."""
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
