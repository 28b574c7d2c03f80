"""Two runs made again on one image, to see in which stage of the network they part."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from harness.core.engine import Engine
from harness.core.errors import IntegrityError, UsageError
from harness.core.requests.inference import EvalRequest
from harness.core.settings import recalled
from harness.engines.native import NativeEngine
from harness.engines.parity.comparison import StageDifference, compare_engines
from harness.engines.stages import own_stages
from harness.workflows.evaluation.resolve import Job, open_job_engine, resolve
from harness.workflows.runs.files import read_run
from harness.workflows.runs.same_data import replaced_images


def first_differing_stage(run: Path, reference: Path, image_id: int) -> StageDifference | None:
    """The first stage in which two evaluations part on an image, and by how much.

    Both networks are opened as the runs' settings say, and compared as ``harness parity`` does.

    Args:
        run: Folder of an evaluation.
        reference: Folder of another one.
        image_id: An image of both.

    Returns:
        That stage; None where none differs by more than rounding.

    Raises:
        UsageError: A run is of an engine that has no stages.
        HarnessError: A run cannot be made again: its weights or images are gone, say.
    """
    jobs = [_job(folder) for folder in (run, reference)]
    records = {one.image_id: one for one in jobs[0].dataset.images}
    if image_id not in records:
        raise UsageError(f"image {image_id} is not one of those that {run} was evaluated on")
    record = records[image_id]
    for job, folder in zip(jobs, (run, reference), strict=True):
        for sentence in replaced_images(folder, job.dataset.images_dir, [record]).values():
            raise IntegrityError(sentence)
    image = jobs[0].image_of(record)
    with closing(_native(jobs[0], run)) as first, closing(_native(jobs[1], reference)) as second:
        report = compare_engines(
            first, second, [image], reference_stages=lambda prepared: own_stages(second, prepared)
        )
    return next((row for row in report.stages if not row.ok), None)


def _job(folder: Path) -> Job:
    return resolve(recalled(EvalRequest, read_run(folder).request).inference)


def _native(job: Job, folder: Path) -> NativeEngine:
    engine: Engine = open_job_engine(job)
    if not isinstance(engine, NativeEngine):
        engine.close()
        raise UsageError(f"the engine of {folder} has no stages that can be looked into")
    return engine
