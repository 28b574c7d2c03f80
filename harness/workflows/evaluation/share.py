"""``harness eval --share K/N``: one part of an evaluation, whatever started its process.

All parts append to shards of one run folder. Whoever begins first writes what the run is; whoever
ends last changes nothing for the others: an evaluation that is continued merges and scores.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from harness.core.errors import UsageError
from harness.core.printable import shown
from harness.core.progress import Progress
from harness.core.requests.inference import EvalRequest
from harness.core.settings import check_settings, replaced
from harness.workflows.evaluation.finished import facts_of_shard
from harness.workflows.evaluation.inference import grouped
from harness.workflows.evaluation.resolve import (
    Job,
    open_job_engine,
    require_job_settings,
    resolve,
)
from harness.workflows.evaluation.workers import (
    WORKER_THREADS,
    ShardTask,
    infer_share,
    missing_batches,
    with_threads_of_run,
)
from harness.workflows.runs.files import require_own_model
from harness.workflows.runs.folder import Run, announce, join_run, keeping

#: Which part of how many.
SHARE = re.compile(r"([0-9]{1,4})/([0-9]{1,4})")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareResult:
    """One finished part of an evaluation."""

    share: str
    """Which of how many, such as ``3/8``."""

    folder: Path
    """Run folder of all parts."""

    images: int
    """Images that were inferred now."""

    images_before: int
    """Images of the part that were there already."""

    left: int
    """Images that no part has finished yet."""


def evaluate_share(
    request: EvalRequest,
    share: str,
    *,
    image_ids: Collection[int] | None,
    progress: Progress,
    command: tuple[str, ...],
    now: datetime,
) -> ShareResult:
    """Infer the images of one part that no shard of the run has.

    Args:
        request: The whole evaluation; its output is set.
        share: Which part of how many, such as ``3/8``. Its images are every eighth batch from the
            third on, and its shard the third.
        image_ids: The images instead; None for those of the share.
        progress: Where progress and notices go.
        command: What the user typed.
        now: When the part began.

    Raises:
        UsageError: An invalid argument; the run is finished, or of another kind.
        AnotherRunError: The folder has another run.
        HarnessError: As of an evaluation.
    """
    number, count = parsed_share(share)
    if request.output is None:
        raise UsageError(
            f"--share {share} needs the folder of all parts",
            hint="name it in the command of every part: --output results/runs/NAME",
        )
    check_settings(request)
    require_own_model(replace(request, resume=True))
    job = resolve(request.inference)
    require_job_settings(job)
    with join_run(
        request, job.dataset_facts, job.checkpoint, command=command, now=now, progress=progress
    ) as run:
        announce(run, f"share {share}")
        return _inferred(job, run, number, count, image_ids)


def parsed_share(text: str) -> tuple[int, int]:
    """Return which part, from 1, of how many.

    Raises:
        UsageError: The text is not K/N, or K is not from 1 to N.
    """
    found = SHARE.fullmatch(text)
    number, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= count:
        raise UsageError(
            f"--share must be K/N with K from 1 to N, and N up to 9999, got {shown(text)}",
            hint="the first of eight parts is 1/8, the last 8/8",
        )
    return number, count


def _inferred(
    job: Job, run: Run, number: int, count: int, image_ids: Collection[int] | None
) -> ShareResult:
    job = with_threads_of_run(job, run.folder)
    # As of local workers, so that a part has the bytes that any other division gives.
    threads = job.request.options.threads or WORKER_THREADS
    job = replace(job, request=replaced(job.request, threads=threads))
    with keeping(run):
        asked = _images_of(job, number, count) if image_ids is None else _known(job, image_ids)
        missing = _missing(job, run)
        task = ShardTask(
            request=job.request,
            folder=run.folder,
            number=number - 1,
            image_ids=tuple(one for one in missing if one in asked),
        )
        images = _infer(job, task, run)
        return ShareResult(
            share=f"{number}/{count}",
            folder=run.folder,
            images=images,
            images_before=len(asked) - images,
            left=len(_missing(job, run)),
        )


def _infer(job: Job, task: ShardTask, run: Run) -> int:
    """Infer the images of a part; return how many. One that was finished opens no engine."""
    if not task.image_ids and facts_of_shard(job, run.folder, task.number) is not None:
        return 0
    with closing(open_job_engine(job)) as engine:
        return infer_share(job, engine, task, run.progress).images


def _images_of(job: Job, number: int, count: int) -> set[int]:
    """Return the ids of every ``count``-th batch from ``number`` on, finished or not."""
    size = job.request.options.batch_size
    ids = [one.image_id for one in grouped(job.dataset.images, size)]
    starts = range((number - 1) * size, len(ids), count * size)
    return {one for start in starts for one in ids[start : start + size]}


def _known(job: Job, image_ids: Collection[int]) -> set[int]:
    """Return the ids, each once.

    Raises:
        UsageError: One is of no image of the job.
    """
    known = set(job.dataset.image_ids)
    unknown = [one for one in image_ids if one not in known]
    if unknown:
        raise UsageError(
            f"no image of the run has the id {shown(unknown[0])}",
            hint=f"take ids of {job.dataset.annotations_path}, within --limit",
        )
    return set(image_ids)


def _missing(job: Job, run: Run) -> list[int]:
    batches = missing_batches(job, run.folder, notice=run.progress.notice)
    return [image for batch in batches for image in batch]
