"""``harness compare``: what differs between two runs, and whether it is more than noise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.errors import IntegrityError, UsageError
from harness.core.progress import Progress
from harness.core.record import RunRecord
from harness.core.tasks import tasks_measured
from harness.data.predictions import read_predictions
from harness.data.proven import read_annotations_of
from harness.files.json import to_plain
from harness.measure.bootstrap import SEED, Interval, compare_paired
from harness.measure.resampling import matches_of
from harness.workflows.runs.files import PREDICTIONS, RECORD
from harness.workflows.runs.records import read_record, require_own_predictions

#: Facts that say nothing about a difference.
UNTELLING = ("run_id", "output", "resume", "hostname", "memory_bytes", "git_dirty")

#: Rows of the lists of categories and images.
SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricChange:
    """One metric of both runs."""

    metric: str
    """Name of the metric."""

    first: float | None
    """Value of the first run."""

    second: float | None
    """Value of the second run."""

    interval: Interval | None
    """Of the difference; only for AP, AP50 and AP75, where it can be computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The differences of the second run from the first."""

    first: str
    """Id of the first run."""

    second: str
    """Id of the second run."""

    facts: tuple[tuple[str, str, str], ...]
    """(name, first, second) of what differs in request, engine, weights, data, environment."""

    metrics: tuple[MetricChange, ...]
    """One for each common metric."""

    categories: tuple[tuple[str, int, str, float, float], ...]
    """(task, id, name, first AP, second AP), largest change first."""

    images: tuple[tuple[int, int], ...]
    """(image id, number of its predictions without an equal in the other run), most first."""

    differing_images: int
    """Number of images with different predictions."""

    first_differing: int | None
    """Id of the first such image; None without one."""


def compare_runs(first: Path, second: Path, *, resamples: int, progress: Progress) -> Comparison:
    """The comparison of two finished evaluations of the same images.

    Raises:
        UsageError: A folder has no finished evaluation, or the images differ.
    """
    records = (_record(first), _record(second))
    _require_comparable(records[0], records[1], first, second)
    content = _annotations(records[0], resamples)
    predictions = [_predictions(folder, content, progress) for folder in (first, second)]
    changed = _changed_images(*predictions)
    return Comparison(
        first=records[0].run_id,
        second=records[1].run_id,
        facts=tuple(_facts(*records)),
        metrics=_metrics(records, content, predictions, resamples, progress),
        categories=tuple(_categories(*records)[:SHOWN]),
        images=tuple(sorted(changed.items(), key=lambda one: (-one[1], one[0]))[:SHOWN]),
        differing_images=len(changed),
        first_differing=min(changed, default=None),
    )


def _record(folder: Path) -> RunRecord:
    if not (folder / RECORD).is_file() or not (folder / PREDICTIONS).is_file():
        raise UsageError(
            f"{folder} holds no finished evaluation", hint="they are made by: harness eval"
        )
    return read_record(folder)


def _predictions(
    folder: Path, content: Mapping[str, Any] | None, progress: Progress
) -> list[dict[str, Any]]:
    """The predictions of a run as it wrote them.

    Args:
        content: Of its annotations, where it is read.
    """
    unknown = require_own_predictions(folder)
    if unknown is not None:
        progress.notice(f"note: {unknown}")
    return read_predictions(folder / PREDICTIONS, content)


def _require_comparable(one: RunRecord, other: RunRecord, first: Path, second: Path) -> None:
    facts = [(record.dataset.digest, record.dataset.evaluated_images) for record in (one, other)]
    if facts[0] != facts[1]:
        raise UsageError(
            f"{first} and {second} evaluated other images: {one.dataset.evaluated_images} of "
            f"{one.dataset.name} ({one.dataset.digest[:12]}), {other.dataset.evaluated_images} of "
            f"{other.dataset.name} ({other.dataset.digest[:12]})"
        )


def _facts(one: RunRecord, other: RunRecord) -> list[tuple[str, str, str]]:
    flat = [
        _flattened(
            {
                "request": to_plain(record)["request"],
                "engine": to_plain(record.engine),
                "checkpoint": to_plain(record.checkpoint),
                "dataset": to_plain(record.dataset),
                "environment": to_plain(record.environment),
                "harness": record.harness_version,
            }
        )
        for record in (one, other)
    ]
    return [
        (name, flat[0].get(name, "–"), flat[1].get(name, "–"))
        for name in sorted(flat[0].keys() | flat[1].keys())
        if flat[0].get(name) != flat[1].get(name) and name.rpartition(".")[2] not in UNTELLING
    ]


def _flattened(tree: Any, prefix: str = "") -> dict[str, str]:
    if not isinstance(tree, Mapping):
        return {prefix: str(tree)}
    leaves: dict[str, str] = {}
    for key, value in tree.items():
        leaves |= _flattened(value, f"{prefix}.{key}" if prefix else str(key))
    return leaves


def _annotations(record: RunRecord, resamples: int) -> dict[str, Any] | None:
    """The annotations of both runs; None where nothing is resampled, which needs them."""
    if resamples < 0:
        raise UsageError(f"--resamples must be 0 or more, got {resamples}")
    path = Path(record.dataset.annotations_path)
    if resamples and not path.is_file():
        raise IntegrityError(
            f"the annotations of both runs are no longer there: {path}",
            hint="--resamples 0 compares without them",
        )
    if not resamples:
        return None
    return read_annotations_of(record.dataset, "compare without it: --resamples 0")


def _metrics(
    records: Sequence[RunRecord],
    content: Mapping[str, Any] | None,
    predictions: Sequence[list[dict[str, Any]]],
    resamples: int,
    progress: Progress,
) -> tuple[MetricChange, ...]:
    intervals: dict[str, Interval] = {}
    names = [name for name in records[0].metrics if "/A" in name]
    tasks = tasks_measured(names)
    facts = records[0].dataset
    with progress.task("resample", total=resamples * len(tasks), unit="draws") as tick:
        for task in tasks:
            if content is None:
                break
            ids = sorted(image["id"] for image in content["images"])
            ids = ids[: facts.evaluated_images]
            matches = [matches_of(content, rows, task, ids) for rows in predictions]
            found = compare_paired(
                *matches, images=len(ids), resamples=resamples, seed=SEED, advance=tick
            )
            intervals |= {f"{task}/{name}": interval for name, interval in found.items()}
    return tuple(
        MetricChange(
            metric=name,
            first=records[0].metrics[name],
            second=records[1].metrics.get(name),
            interval=intervals.get(name),
        )
        for name in names
    )


def _categories(one: RunRecord, other: RunRecord) -> list[tuple[str, int, str, float, float]]:
    theirs = {(row.task, row.category_id): row.ap for row in other.per_category}
    rows = [
        (row.task, row.category_id, row.name, row.ap, ap)
        for row in one.per_category
        if row.ap is not None and (ap := theirs.get((row.task, row.category_id))) is not None
    ]
    rows = [row for row in rows if row[3] != row[4]]
    return sorted(rows, key=lambda row: -abs(row[4] - row[3]))


def _changed_images(
    one: Sequence[dict[str, Any]], other: Sequence[dict[str, Any]]
) -> dict[int, int]:
    """Image id → predictions without an equal in the other run; only images that have some."""
    counts: dict[int, int] = defaultdict(int)
    sides = [_by_image(rows) for rows in (one, other)]
    for image in sides[0].keys() | sides[1].keys():
        first, second = sides[0].get(image, set()), sides[1].get(image, set())
        if first != second:
            counts[image] = max(len(first - second), len(second - first))
    return dict(counts)


def _by_image(rows: Sequence[dict[str, Any]]) -> dict[int, set[str]]:
    images: dict[int, set[str]] = defaultdict(set)
    for row in rows:
        images[row["image_id"]].add(repr(sorted(row.items(), key=lambda item: item[0])))
    return images


def metric_rows(metrics: tuple[MetricChange, ...]) -> list[tuple[str, ...]]:
    """A row of texts for each metric: name, both values, delta, interval, what that means."""
    rows: list[tuple[str, ...]] = []
    for one in metrics:
        known = one.first is not None and one.second is not None
        delta = f"{one.second - one.first:+.3f}" if known else "–"  # type: ignore[operator]
        interval = word = ""
        if one.interval is not None:
            interval = f"{one.interval.low:+.3f} … {one.interval.high:+.3f}"
            word = "noise" if one.interval.is_noise else _direction(one.interval.difference)
        rows.append((one.metric, _number(one.first), _number(one.second), delta, interval, word))
    return rows


def _direction(difference: float) -> str:
    """Of a difference that is no noise; every metric with an interval is an AP."""
    return "better" if difference > 0 else "worse"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
