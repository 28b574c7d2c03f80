"""COCO metrics of a set of predictions, by faster-coco-eval, pycocotools, or both; their intervals.

All results are in 0…100.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from harness.core.errors import IntegrityError, RunFailedError
from harness.core.garbage_collection import collector_paused
from harness.core.record import CategoryScore, MetricInterval
from harness.core.requests.inference import Evaluator
from harness.core.tasks import TASKS, Task
from harness.measure.bootstrap import SEED, Intervals, intervals_of
from harness.measure.columns import category_positions
from harness.measure.evaluators import Curves, Floats, OneEvaluator, summary
from harness.measure.resampling import matches_by_size
from harness.measure.scoring_processes import joined_shares, partitioned, score_shares

#: The evaluators must agree to this on their 0…1 scale.
EVALUATOR_BAR = 1e-9

#: A process is worth its start (0.25 s) for so many predictions, which take 0.6 s.
LEAST_PREDICTIONS = 10_000


#: IoU thresholds of COCO's AP, and the recall levels it averages precision over.
IOU_THRESHOLDS = tuple(number / 100 for number in range(50, 100, 5))
RECALL_LEVELS = tuple(number / 100 for number in range(101))


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionCurves:
    """What COCO's AP of a task is the mean of, all categories together."""

    task: Task
    """Boxes or masks."""

    ap_by_iou: dict[str, float | None]
    """AP, 0-100, by IoU threshold (``0.50`` … ``0.95``); None without ground truth."""

    precision: dict[str, tuple[float, ...]]
    """Precision, 0 to 1, at each of ``RECALL_LEVELS``, by IoU threshold, and their ``mean``; empty
    without ground truth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """COCO metrics of a set of predictions."""

    metrics: dict[str, float | None]
    """``bbox/AP`` … ``keypoints/ARl`` in 0…100, None where undefined (no such ground truth)."""

    per_category: tuple[CategoryScore, ...]
    """One row a task and category, by COCO id."""

    intervals: Mapping[str, MetricInterval] = field(default_factory=dict)
    """How sure the APs are, by the names of ``metrics``; empty where that was not computed."""

    curves: tuple[PrecisionCurves, ...] = ()
    """Of each task."""


def score(
    annotations: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    *,
    tasks: Sequence[Task],
    image_ids: Sequence[int],
    evaluator: Evaluator = "fast",
    processes: int = 1,
) -> Scores:
    """The COCO metrics of predictions over some images.

    Args:
        annotations: As returned by ``data.coco.read_annotations``.
        predictions: In COCO's results format; those of other images of the data set are left out.
        tasks: Boxes, masks, keypoints, or several of them.
        image_ids: The images that are scored.
        evaluator: faster-coco-eval, pycocotools, or both, which must then agree.
        processes: How many faster-coco-eval may use; few predictions are scored in this one alone.
            The numbers are the same, bit for bit. pycocotools always runs as its users run it.

    Raises:
        IntegrityError: Predictions of images or categories that the annotations do not have.
        RunFailedError: Both evaluators run and differ, or a process ends without a result.
    """
    kept = kept_predictions(annotations, predictions, image_ids)

    def results(one: OneEvaluator) -> dict[Task, _Result]:
        count = min(processes, len(kept) // LEAST_PREDICTIONS) if one == "fast" else 1
        shares = partitioned(
            annotations, kept, tasks, image_ids=image_ids, evaluator=one, processes=max(1, count)
        )
        curves = joined_shares(score_shares(shares))
        return {task: _Result(summary(one, task, curves[task]), curves[task]) for task in tasks}

    with collector_paused():
        found = results("pycocotools" if evaluator == "pycocotools" else "fast")
        if evaluator == "both":
            _require_equal(found, results("pycocotools"))
    return _scores(annotations, found)


def kept_predictions(
    annotations: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    image_ids: Sequence[int],
) -> list[Mapping[str, Any]]:
    """The predictions for some images.

    Args:
        annotations: As returned by ``data.coco.read_annotations``.
        predictions: In COCO's results format.
        image_ids: The images that are scored.

    Raises:
        IntegrityError: Predictions of images or categories that the annotations do not have.
    """
    _require_known(annotations, predictions)
    wanted = frozenset(image_ids)
    return [row for row in predictions if row["image_id"] in wanted]


def scores_of(annotations: Mapping[str, Any], curves: Mapping[Task, Curves]) -> Scores:
    """The COCO metrics of what faster-coco-eval found.

    Args:
        annotations: As returned by ``data.coco.read_annotations``.
        curves: Curves of all categories, by task.
    """
    return _scores(
        annotations,
        {task: _Result(summary("fast", task, one), one) for task, one in curves.items()},
    )


def _scores(annotations: Mapping[str, Any], found: Mapping[Task, _Result]) -> Scores:
    metrics = {
        f"{task}/{name}": _percent(value)
        for task, one in found.items()
        for name, value in zip(TASKS[task].metrics, one.stats, strict=True)
    }
    per_category = [
        row
        for task, one in found.items()
        for row in _category_scores(annotations, one.curves.precision, task)
    ]
    curves = tuple(_precision_curves(one.curves.precision, task) for task, one in found.items())
    return Scores(metrics=metrics, per_category=tuple(per_category), curves=curves)


def check_coverage(expected_ids: Sequence[int], finished_ids: Sequence[int]) -> None:
    """Check that every expected image was finished exactly once.

    An image that is missing, or there twice, moves every number (detectron2#1838, pytorch#25162).

    Args:
        expected_ids: Images of the run, each once.
        finished_ids: Images that have predictions, in any order.

    Raises:
        RunFailedError: Images are missing, unexpected, or there more than once.
    """
    finished = set(finished_ids)
    missing = [one for one in expected_ids if one not in finished]
    unexpected = sorted(finished - set(expected_ids))
    repeated = len(finished_ids) - len(finished)
    if missing or unexpected or repeated:
        raise RunFailedError(
            f"{len(finished)} of {len(expected_ids)} images were evaluated: "
            f"{len(missing)} missing (first: {missing[:3]}), {repeated} more than once, "
            f"{len(unexpected)} unexpected (first: {unexpected[:3]})",
            hint="continue the run with --resume",
        )


@dataclass(frozen=True, slots=True)
class _Result:
    """What one evaluator found for one task."""

    stats: tuple[float, ...]
    """The task's numbers of all categories together, 0…1, −1 undefined."""

    curves: Curves
    """Precision and recall they are computed from."""


def _require_known(
    annotations: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]]
) -> None:
    """Check that predictions name only images and categories that the annotations have.

    Raises:
        IntegrityError: One does not; the first is named.
    """
    images = {image["id"] for image in annotations["images"]}
    categories = {category["id"] for category in annotations["categories"]}
    named = {row["image_id"] for row in predictions}, {row["category_id"] for row in predictions}
    if named[0] <= images and named[1] <= categories:
        return
    for row in predictions:
        if row["image_id"] not in images:
            raise IntegrityError(
                f"a prediction names image {row['image_id']}, which the annotations do not have",
                hint="predictions and annotations belong to different data sets",
            )
        if row["category_id"] not in categories:
            raise IntegrityError(
                f"a prediction for image {row['image_id']} names category {row['category_id']}, "
                "which the annotations do not have",
                hint="predictions must carry COCO category ids, not class indices",
            )


def _require_equal(ours: Mapping[Task, _Result], theirs: Mapping[Task, _Result]) -> None:
    for task, result in ours.items():
        pairs = zip(TASKS[task].metrics, result.stats, theirs[task].stats, strict=True)
        for name, fast, official in pairs:
            if abs(fast - official) > EVALUATOR_BAR:
                raise RunFailedError(
                    f"the evaluators disagree on {task}/{name}: "
                    f"faster-coco-eval {fast:.12f}, pycocotools {official:.12f}",
                    hint="predictions are kept; score them with --evaluator pycocotools",
                )


def _category_scores(
    annotations: Mapping[str, Any], precision: Floats, task: Task
) -> list[CategoryScore]:
    """AP of each category: the mean precision over IoU and recall, all sizes, all detections."""
    categories = sorted(annotations["categories"], key=lambda category: category["id"])
    rows = []
    for position, category in enumerate(categories):
        values = precision[:, :, position, 0, -1]
        defined = values[values > -1]
        rows.append(
            CategoryScore(
                task=task,
                category_id=category["id"],
                name=category["name"],
                ap=float(defined.mean()) * 100 if defined.size else None,
                reason="" if defined.size else "no ground truth in the evaluated images",
            )
        )
    return rows


def _precision_curves(precision: Floats, task: Task) -> PrecisionCurves:
    """Means over the categories that have ground truth, all sizes, 100 detections.

    Args:
        precision: (T, R, K, A, M) in 0…1, −1 where undefined.
        task: Boxes or masks.
    """
    chosen = precision[:, :, :, 0, -1]
    defined = (chosen > -1).all(axis=(0, 1))
    names = [f"{iou:.2f}" for iou in IOU_THRESHOLDS]
    if not defined.any():
        return PrecisionCurves(
            task=task, ap_by_iou=dict.fromkeys(names), precision=dict.fromkeys(names, ())
        )
    mean = chosen[:, :, defined].mean(axis=2)  # (T, R)
    rows = {name: tuple(row.tolist()) for name, row in zip(names, mean, strict=True)}
    return PrecisionCurves(
        task=task,
        ap_by_iou={name: float(row.mean() * 100) for name, row in zip(names, mean, strict=True)},
        precision={**rows, "mean": tuple(mean.mean(axis=0).tolist())},
    )


def _percent(value: float) -> float | None:
    """0…1 as 0…100; the evaluators' −1 for "undefined" as None."""
    return None if value < 0 else value * 100


def with_intervals(
    scores: Scores,
    annotations: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    *,
    tasks: Sequence[Task],
    image_ids: Sequence[int],
    resamples: int,
    threads: int = 1,
) -> Scores:
    """The same scores with the 95 % interval of every AP.

    Args:
        scores: Scores of the same predictions; its numbers stay as they are.
        annotations: As returned by ``data.coco.read_annotations``.
        predictions: Valid COCO results.
        tasks: Boxes, masks, or both.
        image_ids: The images that were scored.
        resamples: Draws of the bootstrap; 0 for no intervals.
        threads: How many to compute on at once.
    """
    if resamples == 0 or not image_ids or not annotations["categories"]:
        return scores
    drawn = _intervals_by_task(
        annotations, predictions, tasks, image_ids, resamples=resamples, threads=threads
    )
    return with_drawn(scores, annotations, drawn)


def with_drawn(
    scores: Scores, annotations: Mapping[str, Any], drawn: Mapping[Task, Intervals]
) -> Scores:
    """The same scores with intervals that were drawn.

    Args:
        scores: Scores of the same predictions.
        annotations: As returned by ``data.coco.read_annotations``.
        drawn: By task.
    """
    metrics: dict[str, MetricInterval] = {}
    categories: dict[tuple[str, int], MetricInterval] = {}
    positions = category_positions(annotations)
    for task, found in drawn.items():
        metrics |= {f"{task}/{name}": one for name, one in found.metrics.items()}
        for category_id, position in positions.items():
            if position in found.categories:
                categories[task, category_id] = found.categories[position]
    return replace(
        scores,
        intervals={name: metrics[name] for name in scores.metrics if name in metrics},
        per_category=tuple(
            replace(row, interval=categories.get((row.task, row.category_id)))
            for row in scores.per_category
        ),
    )


def _intervals_by_task(
    annotations: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    tasks: Sequence[Task],
    image_ids: Sequence[int],
    *,
    resamples: int,
    threads: int,
) -> dict[Task, Intervals]:
    """The intervals of each task: one is matched while data sets are drawn for the one before."""
    drawn: dict[Task, Future[Intervals]] = {}
    with ThreadPoolExecutor(1) as beside:
        for task in tasks:
            with collector_paused():
                matches = matches_by_size(annotations, predictions, task, image_ids)
            drawn[task] = beside.submit(
                intervals_of,
                matches,
                images=len(image_ids),
                resamples=resamples,
                seed=SEED,
                threads=threads,
            )
    return {task: waiting.result() for task, waiting in drawn.items()}
