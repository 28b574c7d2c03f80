"""Weights of a training evaluated as ``harness eval`` does, each in a run folder of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from harness.core.clock import utc_now
from harness.core.dataset import Dataset
from harness.core.errors import AnotherRunError, IntegrityError, RunFailedError
from harness.core.progress import Silent
from harness.core.record import RunRecord
from harness.core.requests.inference import (
    DataSpec,
    EngineOptions,
    EvalRequest,
    InferenceRequest,
    RecipeOverrides,
)
from harness.core.run_files import EVALUATIONS, RECORD, RUN
from harness.core.settings import command_line
from harness.data.catalog import PANOPTIC_LAYOUT
from harness.data.run_dataset import proven_dataset
from harness.files.digest import file_digest
from harness.measure.timing import PhaseTimer
from harness.workflows.evaluation.evaluate import evaluate_job
from harness.workflows.evaluation.inference import inferred, prepared_batches
from harness.workflows.evaluation.resolve import open_job_engine, resolve_on
from harness.workflows.runs.folder import read_record
from harness.workflows.runs.line_text import line_of
from harness.workflows.training.job import TrainingJob
from harness.workflows.training.sample import Row, draw_sample, is_kept, predictions_of, sample_of
from harness.zoo.lock import read_lock

#: Evaluation of the best weights on the test data.
TEST = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """Evaluates weights on the validation data of a job, as ``harness eval`` does."""

    job: TrainingJob
    """The training."""

    folder: Path
    """Its run folder; each evaluation gets a sub-folder."""

    def __call__(
        self, weights: Path, iteration: int, notice: Callable[[str], None]
    ) -> dict[str, float]:
        """Return every number that could be computed, by name; draw the sample of images."""
        output = evaluation_folder(self.folder, iteration)
        record = self._recorded(weights, output, self.job.validation)
        draw_sample(self.job, self.folder, iteration, partial(predictions_of, output), notice)
        return {name: value for name, value in record.metrics.items() if value is not None}

    def before(self, weights: Path, notice: Callable[[str], None]) -> None:
        """Draw what the first weights find in the sample; only its images are inferred."""
        if not is_kept(self.folder, 0):
            rows = partial(self._sample_rows, weights)
            draw_sample(self.job, self.folder, 0, rows, notice)

    def _sample_rows(self, weights: Path) -> list[Row]:
        """Return the predictions of weights for the images of the sample."""
        validation = self.job.validation
        request = _evaluation(self.job, weights, self.folder / EVALUATIONS, validation)
        sample = replace(_named(self.job, validation), images=sample_of(validation))
        job = resolve_on(request.inference, sample)
        with (
            closing(open_job_engine(job)) as engine,  # the training needs its memory
            closing(prepared_batches(job, engine, sample.images)) as batches,
        ):
            lines = partial(line_of, categories=sample.categories, stuff=job.stuff)
            return [
                {"image_id": line["image_id"], **row}
                for answer in inferred(job, engine, batches, lines)
                for line in answer
                for row in line["predictions"]
            ]

    def on_test_data(self, weights: Path) -> RunRecord | None:
        """Return the record of weights on the test data; None without such data."""
        if self.job.test is None:
            return None
        return self._recorded(weights, self.folder / EVALUATIONS / TEST, self.job.test)

    def _recorded(self, weights: Path, output: Path, dataset: Dataset) -> RunRecord:
        """Return the record of an evaluation; what an earlier start evaluated is kept."""
        record = _kept(output, weights)
        if record is None:
            try:
                record = self._evaluated(weights, output, dataset)
            except AnotherRunError:  # begun with weights that were lost with a checkpoint
                shutil.rmtree(output)
                record = self._evaluated(weights, output, dataset)
            except (RunFailedError, IntegrityError) as error:  # the training is what continues
                raise type(error)(error.message) from error.__cause__
        return record

    def _evaluated(self, weights: Path, output: Path, dataset: Dataset) -> RunRecord:
        request = _evaluation(self.job, weights, output, dataset)
        record, _ = evaluate_job(
            request,
            resolve_on(request.inference, _named(self.job, dataset)),
            progress=Silent(),
            command=command_line("train", self.job.request),
            now=utc_now(),
            stopwatch=PhaseTimer(_no_clock, lambda: None),
        )
        return record


def _kept(output: Path, weights: Path) -> RunRecord | None:
    """Return the record of the evaluation in ``output``, where it is one of these weights."""
    if not (output / RECORD).exists():
        return None
    try:
        record = read_record(output)
    except IntegrityError:
        record = None
    if (
        record is not None
        and record.checkpoint is not None
        and record.checkpoint.sha256 == file_digest(weights)
    ):
        return record
    shutil.rmtree(output)
    return None


def _evaluation(job: TrainingJob, weights: Path, output: Path, dataset: Dataset) -> EvalRequest:
    """Return the evaluation of ``weights``, which continues one that an earlier start began."""
    request, numbers = job.request, job.architecture
    runtime = request.runtime
    resized = request.augmentation.short_edge_px is not None
    return EvalRequest(
        inference=InferenceRequest(
            network=replace(request.network, weights=weights),
            data=data_of(dataset, job.proposals_of(dataset)),
            options=EngineOptions(
                engine=runtime.engine if numbers.torchvision is None else "torchvision",
                device=runtime.device,
                loaders=runtime.loaders,
                threads=runtime.threads,
            ),
            recipe=RecipeOverrides(
                short_edge_px=numbers.short_edge_px if resized else None,
                long_edge_max_px=numbers.long_edge_max_px if resized else None,
            ),
        ),
        output=output,
        report=False,  # one, of the best weights, in the end
        resume=(output / RUN).exists(),
    )


def data_of(dataset: Dataset, proposals: Path | None) -> DataSpec:
    """Return the files of a data set as settings of an evaluation.

    Args:
        dataset: Its annotations and images.
        proposals: Region proposals of the images; None for those the model was published with, or
            for a model that makes its own.
    """
    truth = dataset.panoptic
    return DataSpec(
        annotations=dataset.annotations_path,
        images=dataset.images_dir,
        proposals=proposals,
        panoptic=None if truth is None else truth.annotations_path,
        panoptic_masks=None if truth is None else truth.folder,
    )


def _named(job: TrainingJob, dataset: Dataset) -> Dataset:
    """Return validation or test data under the name that ``harness eval`` gives files.

    The record of an evaluation, and what it is compared with, is the one of ``harness eval`` with
    the same files. COCO's own files keep COCO's name.
    """
    known = dataset.name if dataset.name in PANOPTIC_LAYOUT else dataset.annotations_path.stem
    named = replace(dataset, name=known)
    return proven_dataset(read_lock(), named, job.request.network.root)


def evaluation_folder(folder: Path, iteration: int) -> Path:
    """Return the run folder of the evaluation after an iteration."""
    return folder / EVALUATIONS / f"iteration-{iteration:07d}"


def _no_clock() -> float:
    return 0.0
