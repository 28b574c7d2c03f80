"""``harness score``: the numbers of saved predictions, on CPU and without torch.

A run is scored on the images it evaluated, and judged as it was. A predictions file is scored on
all of its annotation file and not judged: how it was made is not known.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from harness import __version__
from harness.core.checks import Check
from harness.core.dataset import ImageRecord
from harness.core.errors import IntegrityError, UsageError
from harness.core.printable import counted
from harness.core.record import DatasetFacts, RunRecord
from harness.core.requests.inference import ScoreRequest
from harness.core.requests.reports import SavedPredictions
from harness.core.run_files import PREDICTIONS, RECORD
from harness.core.settings import recorded
from harness.core.tasks import (
    PANOPTIC,
    PROPOSALS,
    SEMANTIC,
    Task,
    are_proposals,
    listed_metrics,
    scorable_tasks,
)
from harness.data.coco import dataset_of, read_annotations
from harness.data.edit.splitting import only_images
from harness.data.predictions import read_predictions
from harness.data.run_dataset import read_panoptic_of
from harness.diagnosis.case import Case, rows_of, truth_of
from harness.diagnosis.findings import suspicions
from harness.files.atomic import write_text
from harness.files.environment import read_environment, usable_cpus
from harness.files.json import to_plain
from harness.files.toml import CONFIG, config_text
from harness.measure.coco import Scores
from harness.measure.parallel import Wanted, measuring
from harness.measure.proposals import score_proposals
from harness.measure.timing import PhaseTimer
from harness.measure.verdict import check_references, conclude, unreferenced
from harness.workflows.evaluation.panoptic import mapped_images, with_maps
from harness.workflows.runs.files import read_run
from harness.workflows.runs.folder import read_record, require_own_predictions, write_record
from harness.workflows.runs.results_files import read_loosely, read_results
from harness.workflows.runs.same_data import (
    annotations_of_run,
    require_same_maps_of,
    scored_images,
)

OTHER_ANNOTATIONS = "scored against other annotations than the run was evaluated on"


def score_saved(
    request: ScoreRequest,
    *,
    command: tuple[str, ...],
    now: datetime,
    stopwatch: PhaseTimer,
) -> RunRecord:
    """Score a predictions file, or a run folder again, and return the record.

    Raises:
        UsageError: Nothing to score, or a run that is unfinished.
        IntegrityError: A file is damaged, or not that of the run.
    """
    with stopwatch.phase("read"):
        content, predictions_path, predictions, facts = read_sources(request.saved)
    tasks = (PROPOSALS,) if of_proposals(request.saved.run) else tasks_of(predictions)
    scores, suspected = _score(
        request, content, predictions, tasks=tasks, facts=facts, stopwatch=stopwatch
    )
    with stopwatch.phase("score maps"):
        scores, odd = _with_maps(request, scores, content, facts)
    deviations, checks = _judged(request.saved.run, scores.metrics, facts)
    checks += unreferenced(listed_metrics((*tasks, PANOPTIC)), scores.metrics, checks)
    record = RunRecord(
        kind="score",
        run_id=f"score-{now:%Y%m%d-%H%M%S}",
        created_utc=now.isoformat(timespec="seconds"),
        harness_version=__version__,
        command=command,
        request=to_plain(recorded(request)),
        resolved={"predictions": str(predictions_path), "evaluator": request.evaluator},
        engine=None,
        checkpoint=None,
        dataset=facts,
        environment=read_environment(),
        metrics=scores.metrics,
        per_category=scores.per_category,
        intervals=dict(scores.intervals),
        stage_times_s=dict(stopwatch.seconds),
        protocol_deviations=deviations,
        notes=(*suspected, *odd),
        checks=checks,
        verdict=conclude(checks),
        artefacts={},
    )
    if request.output is not None:
        write_text(request.output / CONFIG, config_text(request, command=record.kind))
        write_record(request.output, record)  # last: it marks the folder as finished
    return record


def _score(
    request: ScoreRequest,
    content: dict[str, Any],
    predictions: list[dict[str, Any]],
    *,
    tasks: tuple[Task, ...],
    facts: DatasetFacts,
    stopwatch: PhaseTimer,
) -> tuple[Scores, tuple[str, ...]]:
    """Return the numbers of the evaluated images, with their intervals, and what is suspected."""
    image_ids = scored_images(content, facts)
    if tasks == (PROPOSALS,):
        with stopwatch.phase("score"):
            found = score_proposals(content, predictions, image_ids)
        return Scores(metrics=found, per_category=()), ()
    wanted = Wanted(
        annotations=content,
        predictions=predictions,
        tasks=tasks,
        image_ids=image_ids,
        evaluator=request.evaluator,
        resamples=request.certainty.resamples,
    )
    with ExitStack() as measuring_ends:
        with stopwatch.phase("score"):
            begun = measuring(wanted, processes=usable_cpus())
            measured = measuring_ends.enter_context(begun)
            measured.begin()
            suspected = _suspicions(content, predictions, tasks, facts)  # while others compute
            scores = measured.scores()
        with stopwatch.phase("intervals"):
            return measured.with_intervals(scores), suspected


def _with_maps(
    request: ScoreRequest, scores: Scores, content: dict[str, Any], facts: DatasetFacts
) -> tuple[Scores, tuple[str, ...]]:
    """Return the numbers with those of a run's maps of segments, and what was odd about them."""
    run = request.saved.run
    if run is None or facts.panoptic is None:
        return scores, ()
    truth = read_panoptic_of(facts.panoptic, facts.name)
    wanted = frozenset(scored_images(content, facts))
    images = [
        ImageRecord(one["id"], one["file_name"], one["height"], one["width"])
        for one in content["images"]
        if one["id"] in wanted
    ]
    return with_maps(
        scores, truth, run, images, request.certainty.resamples, counted=_counted_pixels(run)
    )


def _counted_pixels(run: Path) -> bool:
    """Whether the record of a run has numbers of the classes of pixels."""
    if not (run / RECORD).exists():
        return False
    return any(name.startswith(f"{SEMANTIC}/") for name in read_record(run).metrics)


def read_sources(
    saved: SavedPredictions, verb: str = "score"
) -> tuple[dict[str, Any], Path, list[dict[str, Any]], DatasetFacts]:
    """Return the annotations, the file of predictions, its rows, and the data set.

    Args:
        saved: What is to be read.
        verb: What is to be done with it, for the error where nothing is named.

    Raises:
        UsageError: Nothing to read, or a run that is unfinished.
        IntegrityError: A file is damaged, or not that of the run.
    """
    content, path, facts = _sources(saved, verb)
    if saved.run is not None:
        return content, path, read_predictions(path, content), facts
    try:
        found = read_results(path, content, saved.foreign.class_ids)
    except IntegrityError as error:
        hint = error.hint or _diagnosable(path, content, saved.annotations)
        raise IntegrityError(error.message, hint=hint) from error
    warnings = (*facts.warnings, *found.assumed, *_oddities(found.rows, content))
    return content, path, found.rows, replace(facts, warnings=warnings)


def _diagnosable(path: Path, content: Mapping[str, Any], annotations: Path | None) -> str | None:
    """Return the command that finds out what is wrong; None where it would fail alike."""
    try:
        read_loosely(path, content)
    except IntegrityError:
        return None
    return (
        "find out what is wrong: harness diagnose --predictions "
        f"{shlex.quote(str(path))} --annotations {shlex.quote(str(annotations))}"
    )


def of_proposals(run: Path | None) -> bool:
    """Whether a run was measured by the recall of its proposals; a file's is never known to be."""
    if run is None or not (run / RECORD).exists():
        return False
    return are_proposals(read_record(run).metrics)


def _judged(
    run: Path | None, metrics: Mapping[str, float | None], facts: DatasetFacts
) -> tuple[tuple[str, ...], tuple[Check, ...]]:
    """Return what is not comparable, and the checks, of a finished run; none without one."""
    if run is None or not (run / RECORD).exists():
        return ("saved predictions: how they were made is not known here",), ()
    known = read_record(run)
    if facts.digest != known.dataset.digest:
        return (*known.protocol_deviations, OTHER_ANNOTATIONS), ()
    checks = check_references(
        [check.reference for check in known.checks if check.reference is not None],
        metrics,
        dataset=facts.name,
        deviations=known.protocol_deviations,
    )
    return known.protocol_deviations, checks


def _of_run(folder: Path, annotations: Path | None) -> tuple[dict[str, Any], Path, DatasetFacts]:
    """Return the annotations, the file of predictions and the data set of a run folder.

    Args:
        folder: The run.
        annotations: The file to score against instead of the run's own.

    Raises:
        UsageError: It has no predictions, or they have no ground truth.
        IntegrityError: The predictions or the annotations are not those of the run.
    """
    facts = read_run(folder).dataset
    if not facts.annotations_path:
        raise UsageError(f"{folder} holds predictions on images without ground truth")
    if not (folder / PREDICTIONS).exists():
        raise UsageError(
            f"{folder} holds no predictions: it is unfinished, or no evaluation",
            hint="finish an evaluation with --resume; nothing else can be scored",
        )
    unknown = require_own_predictions(folder)
    if unknown is not None:
        facts = replace(facts, warnings=(*facts.warnings, unknown))
    if annotations is None:
        otherwise = "name the file to score against with --annotations"
        return annotations_of_run(folder, facts, otherwise), folder / PREDICTIONS, facts
    content = read_annotations(annotations)
    if facts.panoptic is not None:
        require_same_maps_of(folder, facts, mapped_images(folder))
    dataset = dataset_of(content, annotations, annotations.parent)
    if dataset.digest != facts.digest:
        count = len(dataset.images)
        limited = facts.evaluated_images < facts.image_count
        facts = replace(
            facts,
            name=dataset.name,
            annotations_path=str(annotations),
            digest=dataset.digest,
            image_count=count,
            evaluated_images=min(count, facts.evaluated_images) if limited else count,
            warnings=(*dataset.warnings, OTHER_ANNOTATIONS),
        )
    return content, folder / PREDICTIONS, facts


def _sources(saved: SavedPredictions, verb: str) -> tuple[dict[str, Any], Path, DatasetFacts]:
    """Return the annotations, the file of predictions and the data set of what is to be scored.

    Raises:
        UsageError: Neither a run folder nor a predictions file with annotations, or both.
    """
    source = saved.source(verb)
    if isinstance(source, Path):
        return _of_run(source, saved.annotations)
    predictions, annotations = source
    content = read_annotations(annotations)
    dataset = dataset_of(content, annotations, annotations.parent)
    facts = DatasetFacts(
        name=dataset.name,
        annotations_path=str(annotations),
        images_dir="",
        digest=dataset.digest,
        image_count=len(dataset.images),
        evaluated_images=len(dataset.images),
        warnings=dataset.warnings,
    )
    return content, predictions, facts


def _suspicions(
    content: dict[str, Any],
    predictions: list[dict[str, Any]],
    tasks: tuple[Task, ...],
    facts: DatasetFacts,
) -> tuple[str, ...]:
    """Return a sentence for each fault that a cheap look shows in predictions of any origin."""
    if not predictions or not content["images"] or tasks == (PROPOSALS,):
        return ()
    if not {"bbox", "segmentation"} & predictions[0].keys():
        return ()
    if facts.evaluated_images < len(content["images"]):  # the others were not run on
        content = only_images(content, frozenset(scored_images(content, facts)))
    needed: tuple[Task, ...] = ("bbox", "segm") if "segm" in tasks else ("bbox",)
    case = Case(rows=rows_of(predictions), truth=truth_of(content, needed))
    # Of the processor: on a busy machine no less is found.
    return suspicions(case, clock=time.thread_time)


def _oddities(
    predictions: Sequence[Mapping[str, Any]], content: Mapping[str, Any]
) -> Iterator[str]:
    """Yield a sentence where images have no prediction: nothing was found, or they were not run
    on; and where boxes are of no size.
    """
    predicted = {row["image_id"] for row in predictions}
    silent = sum(image["id"] not in predicted for image in content["images"])
    if silent:
        yield (
            f"{silent} of {counted(len(content['images']), 'image')} without a prediction; "
            "if they were not evaluated, the AP is too low"
        )
    boxes = [row["bbox"] for row in predictions if "bbox" in row]
    flat = sum(width <= 0 or height <= 0 for _, _, width, height in boxes)
    if flat:
        yield (
            f"{counted(flat, 'prediction has', 'predictions have')} a box of zero or negative "
            "size: it matches nothing"
        )


def tasks_of(predictions: Sequence[Mapping[str, Any]]) -> tuple[Task, ...]:
    """Return the tasks that the predictions can be scored in; boxes when there are none."""
    return scorable_tasks(predictions[0]) if predictions else ("bbox",)
