"""What differs between two runs, and whether it is more than noise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.core.errors import IntegrityError, UsageError
from harness.core.panoptic import PanopticTruth
from harness.core.printable import counted
from harness.core.progress import Progress
from harness.core.record import CategoryScore, RunRecord
from harness.core.run_files import PREDICTIONS, RECORD
from harness.core.tasks import MAIN_METRICS, PANOPTIC, Task, is_accuracy, tasks_measured
from harness.data.predictions import read_predictions
from harness.data.run_dataset import read_panoptic_of
from harness.files.json import to_plain
from harness.measure.bootstrap import LEAST_IMAGES, SEED, Difference, Differences, differences_of
from harness.measure.columns import category_positions
from harness.measure.panoptic import map_differences
from harness.measure.resampling import matches_by_size
from harness.workflows.evaluation.panoptic import changed_maps, files_of_run, tallies_of
from harness.workflows.runs.folder import read_record, require_own_predictions
from harness.workflows.runs.same_data import (
    annotations_of_run,
    require_same_maps_of,
    scored_images,
)

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

    interval: Difference | None
    """How sure the difference is; only for APs, where it can be computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryChange:
    """AP of one category in both runs."""

    task: str
    """What the APs are of."""

    category_id: int
    """Id of the category."""

    name: str
    """Name of the category."""

    first: float
    """AP of the first run."""

    second: float
    """AP of the second run."""

    interval: Difference | None
    """How sure the difference is, as one of all categories and sizes; None where that is not known.
    """


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Comparison:
    """The differences of the second run from the first."""

    first: str
    """Id of the first run."""

    second: str
    """Id of the second run."""

    facts: tuple[tuple[str, str, str], ...]
    """(name, first, second) of what differs in request, engine, weights, data, environment."""

    metrics: tuple[MetricChange, ...]
    """One for each accuracy that either run has."""

    categories: tuple[CategoryChange, ...]
    """The categories that changed most: those that chance does not explain, then the others."""

    images: tuple[tuple[int, int], ...]
    """(image id, number of its predictions without an equal in the other run), most first; a map of
    segments counts as one.
    """

    differing_images: int
    """Number of images with different predictions."""

    first_differing: int | None
    """Id of the first such image; None without one."""

    maps_of_one: Literal["first", "second"] | None = None
    """The run that alone has maps of segments, which are compared with nothing then; None where
    both have some, or neither.
    """

    def __repr__(self) -> str:
        """The runs and the differences of the main numbers."""
        changes = [
            f"{MAIN_METRICS[one.metric]} {one.second - one.first:+.3f}"
            for one in self.metrics
            if one.metric in MAIN_METRICS and one.first is not None and one.second is not None
        ]
        more = f": {', '.join(changes)}" if changes else ""
        images = counted(self.differing_images, "image differs", "images differ")
        return f"<Comparison of {self.second} with {self.first}{more}; {images}>"

    @property
    def few(self) -> str | None:
        """Why categories have no interval where metrics have one; None where all have it."""
        if all(one.interval for one in self.categories):
            return None
        if not any(one.interval for one in self.metrics):
            return None
        return (
            f"nothing is said of categories whose objects are in fewer than {LEAST_IMAGES} images"
        )


def compare_runs(first: Path, second: Path, *, resamples: int, progress: Progress) -> Comparison:
    """The comparison of two finished evaluations of the same images.

    Raises:
        UsageError: A folder has no finished evaluation, or the images differ, or what was measured.
    """
    records = (_record(first), _record(second))
    _require_comparable(records[0], records[1], first, second)
    tasks = _tasks_of_both(records[0], records[1], first, second)
    _require_same_maps(*records)
    content = _annotations(first, records[0], resamples)
    if content is not None:
        others = records[1].dataset
        require_same_maps_of(second, others, scored_images(content, others))
    predictions = [_predictions(folder, content, progress) for folder in (first, second)]
    changed = changed_images(*predictions)
    facts = records[0].dataset
    maps = None if records[1].dataset.panoptic is None else facts.panoptic
    if maps is not None:
        for image in changed_maps(first, second):
            changed[image] = changed.get(image, 0) + 1
    sure = differences(
        content,
        predictions,
        tasks,
        images=facts.evaluated_images,
        resamples=resamples,
        progress=progress,
    )
    if content is not None and maps is not None:
        truth = read_panoptic_of(maps, facts.name)
        images = sorted(content["images"], key=lambda one: int(one["id"]))[: facts.evaluated_images]
        sure[PANOPTIC] = _map_differences((first, second), truth, images, resamples)
    return Comparison(
        first=records[0].run_id,
        second=records[1].run_id,
        facts=tuple(_facts(*records)),
        metrics=metric_changes(records[0].metrics, records[1].metrics, sure),
        categories=category_changes(
            records[0].per_category, records[1].per_category, content, sure
        ),
        images=tuple(sorted(changed.items(), key=lambda one: (-one[1], one[0]))[:SHOWN]),
        differing_images=len(changed),
        first_differing=min(changed, default=None),
        maps_of_one=having_alone(*(one.dataset.panoptic is not None for one in records)),
    )


def having_alone(first: bool, second: bool) -> Literal["first", "second"] | None:
    """Which of two runs alone has something; None where both have it, or neither."""
    if first == second:
        return None
    return "first" if first else "second"


def _map_differences(
    runs: tuple[Path, Path],
    truth: PanopticTruth,
    images: Sequence[Mapping[str, Any]],
    resamples: int,
) -> Differences:
    """How sure the differences of two runs' maps are."""
    sizes = {one["id"]: (one["height"], one["width"]) for one in images}
    one, other = (tallies_of(truth, files_of_run(folder), sizes)[0] for folder in runs)
    things, stuff = (
        {one.category_id: one.name for one in part} for part in (truth.things, truth.stuff)
    )
    return map_differences(one, other, things, stuff, resamples=resamples)


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
        content: Content of its annotations, where it is read.
    """
    unknown = require_own_predictions(folder)
    if unknown is not None:
        progress.notice(f"note: {unknown}")
    return read_predictions(folder / PREDICTIONS, content)


def _require_comparable(one: RunRecord, other: RunRecord, first: Path, second: Path) -> None:
    facts = [(record.dataset.digest, record.dataset.evaluated_images) for record in (one, other)]
    if facts[0] != facts[1]:
        raise UsageError(
            f"{first} and {second} were evaluated on different images: "
            f"{one.dataset.evaluated_images} of {one.dataset.name} ({one.dataset.digest[:12]}), "
            f"{other.dataset.evaluated_images} of {other.dataset.name} "
            f"({other.dataset.digest[:12]})",
            hint="evaluate both on the same data set, with the same --limit",
        )


def _tasks_of_both(one: RunRecord, other: RunRecord, first: Path, second: Path) -> tuple[Task, ...]:
    """The tasks in which both runs have an AP.

    Raises:
        UsageError: They have no accuracy in common.
    """
    measured = [
        tuple(name for name in MAIN_METRICS if name in each.metrics) for each in (one, other)
    ]
    if all(measured) and not set(measured[0]) & set(measured[1]):
        called = [", ".join(MAIN_METRICS[name] for name in names) for names in measured]
        raise UsageError(
            f"{first} and {second} have no number in common: {called[0]} and {called[1]}",
            hint="compare runs of one task",
        )
    tasks = [tasks_measured(record.metrics) for record in (one, other)]
    return tuple(task for task in tasks[0] if task in tasks[1])


def _require_same_maps(one: RunRecord, other: RunRecord) -> None:
    pair = (one.dataset.panoptic, other.dataset.panoptic)
    if pair[0] and pair[1] and pair[0].digest != pair[1].digest:
        raise UsageError(
            f"the runs were measured by other panoptic annotations: {pair[0].annotations_path} "
            f"({pair[0].digest[:12]}) and {pair[1].annotations_path} ({pair[1].digest[:12]})"
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


def _annotations(run: Path, record: RunRecord, resamples: int) -> dict[str, Any] | None:
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
    return annotations_of_run(run, record.dataset, "compare without it: --resamples 0")


def differences(
    content: Mapping[str, Any] | None,
    predictions: Sequence[Sequence[Mapping[str, Any]]],
    tasks: Sequence[Task],
    *,
    images: int,
    resamples: int,
    progress: Progress,
) -> dict[str, Differences]:
    """How sure every difference of two runs is, by task; nothing without annotations or draws.

    Args:
        content: The annotations.
        predictions: Predictions of the first and of the second run.
        tasks: What is compared.
        images: How many images were evaluated, the first by id.
        resamples: Draws of the paired bootstrap.
        progress: Receives progress.
    """
    if content is None or resamples == 0:
        return {}
    ids = sorted(image["id"] for image in content["images"])[:images]
    found: dict[str, Differences] = {}
    with progress.task("resample", total=resamples * len(tasks), unit="draws") as tick:
        for task in tasks:
            matches = [matches_by_size(content, rows, task, ids) for rows in predictions]
            found[task] = differences_of(
                *matches, images=len(ids), resamples=resamples, seed=SEED, advance=tick
            )
    return found


def metric_changes(
    first: Mapping[str, float | None],
    second: Mapping[str, float | None],
    sure: Mapping[str, Differences],
) -> tuple[MetricChange, ...]:
    """Every accuracy of either run, with the interval of its difference if that was drawn.

    Args:
        first: Metrics of the first run.
        second: Metrics of the second run.
        sure: As returned by ``differences``.
    """
    intervals = {
        f"{task}/{name}": one for task, found in sure.items() for name, one in found.metrics.items()
    }
    return tuple(
        MetricChange(
            metric=name,
            first=first.get(name),
            second=second.get(name),
            interval=intervals.get(name),
        )
        for name in {**first, **second}
        if is_accuracy(name)
    )


def category_changes(
    first: Sequence[CategoryScore],
    second: Sequence[CategoryScore],
    content: Mapping[str, Any] | None,
    sure: Mapping[str, Differences],
) -> tuple[CategoryChange, ...]:
    """The categories that changed most, those first that chance does not explain.

    Args:
        first: AP by category of the first run.
        second: The same of the second run.
        content: The annotations, where they were read.
        sure: As returned by ``differences``.
    """
    places = {} if content is None else category_positions(content)
    theirs = {(row.task, row.category_id): row.ap for row in second}
    rows = [
        CategoryChange(
            task=row.task,
            category_id=row.category_id,
            name=row.name,
            first=row.ap,
            second=ap,
            interval=sure[row.task].categories.get(places.get(row.category_id, -1))
            if row.task in sure
            else None,
        )
        for row in first
        if row.ap is not None
        and (ap := theirs.get((row.task, row.category_id))) is not None
        and row.ap != ap
    ]
    rows.sort(key=lambda row: (_word(row.interval) in ("", "noise"), -abs(row.second - row.first)))
    return tuple(rows[:SHOWN])


def _word(interval: Difference | None) -> str:
    return "" if interval is None else interval.word


def changed_images(
    one: Sequence[dict[str, Any]], other: Sequence[dict[str, Any]]
) -> dict[int, int]:
    """Image id → predictions without an equal in the other run; only images that have some.

    Args:
        one: Predictions of a run.
        other: Those of another.
    """
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
            word = one.interval.meaning
        rows.append((one.metric, _number(one.first), _number(one.second), delta, interval, word))
    return rows


def category_rows(categories: tuple[CategoryChange, ...]) -> list[tuple[str, ...]]:
    """A row of texts for each category: task, id, name, both values, delta, what that means."""
    return [
        (
            one.task,
            str(one.category_id),
            one.name,
            f"{one.first:.2f}",
            f"{one.second:.2f}",
            f"{one.second - one.first:+.2f}",
            _word(one.interval),
        )
        for one in categories
    ]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
