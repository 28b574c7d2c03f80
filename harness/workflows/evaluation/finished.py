"""A run whose images are all inferred: who did it, read from its files, without an engine.

What merges and scores such a run may be a machine without the device, or after a crash in scoring.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.core.engine import EngineInfo
from harness.core.errors import HarnessError
from harness.engines.opening import own_memory_format
from harness.files.json import to_plain
from harness.workflows.evaluation.inference import asked_identity, engine_identity
from harness.workflows.evaluation.resolve import Job
from harness.workflows.evaluation.workers import ShardFacts, facts_path, read_facts
from harness.workflows.runs.shards import read_identity, shard_paths
from harness.workflows.runs.submissions import submission_of_this_job


def finished_facts(job: Job, run_folder: Path) -> list[ShardFacts] | None:
    """Return the facts of the workers that inferred all images of a job.

    Args:
        job: The evaluation, none of whose images is missing.
        run_folder: Where its shards are.

    Returns:
        One a shard. They count images of now only in the last job of a submission, whose shards
        were inferred together; otherwise no one knows what was inferred beside what. None where an
        engine has to say whether this is the run that was asked for.
    """
    submission = submission_of_this_job(run_folder)
    try:
        if submission is None:
            numbers = [int(one.stem) for one in shard_paths(run_folder) if one.stem.isdecimal()]
            numbers = [one for one in numbers if facts_path(run_folder, one).exists()]
        else:
            numbers = list(range(len(submission.shards)))
        found = _facts_of(job, run_folder, numbers)
    except HarnessError:
        return None
    if found and submission is None:
        found = [replace(one, images=0, images_before=0) for one in found]
    return found or None


def facts_of_shard(job: Job, run_folder: Path, number: int) -> ShardFacts | None:
    """Return the facts of the worker of a shard, none of whose images is missing.

    Args:
        job: The evaluation.
        run_folder: Where its shards are.
        number: Number of the shard, from 0.

    Returns:
        None where it has none, or where an engine has to say whether this is the run that was asked
        for.
    """
    try:
        found = _facts_of(job, run_folder, [number])
    except HarnessError:
        return None
    return None if found is None else found[0]


def _facts_of(job: Job, run_folder: Path, numbers: Sequence[int]) -> list[ShardFacts] | None:
    """Return the facts of shards; None where they are not known to be of the job.

    Raises:
        HarnessError: A file of facts is missing or damaged.
    """
    identity = read_identity(run_folder)
    if identity is None or not _is_asked(job, identity):
        return None
    found = [read_facts(run_folder, number) for number in numbers]
    return found if all(_is_by(job, identity, one.engine) for one in found) else None


def _is_asked(job: Job, identity: Mapping[str, Any]) -> bool:
    """Return whether a run has the identity of a job, as far as is known without an engine."""
    options = job.request.options
    asked: dict[str, Any] = {
        **asked_identity(job),
        "engine": job.engine,
        "precision": options.precision,
        "compiled": options.compile,
        "exact": options.exact,
        **{f"architecture.{name}": one for name, one in to_plain(job.architecture).items()},
    }
    if options.threads is not None and identity.get("threads") is not None:
        asked["threads"] = options.threads
    return _has(identity, asked)


def _is_by(job: Job, identity: Mapping[str, Any], engine: EngineInfo) -> bool:
    """Return whether a worker had the engine of its run, and computed as the job asks for.

    The device may not be here: what a job leaves open is what the engine chooses there.
    """
    options = job.request.options
    if not _has(identity, engine_identity(engine)):
        return False
    if options.device != "auto" and _family(options.device) != _family(engine.device):
        return False
    there = replace(options, device=engine.device)
    asked = options.memory_format or own_memory_format(job.engine, there)
    return engine.memory_format in (None, asked)


def _family(device: str) -> str:
    """Return ``cpu`` or ``cuda``: any of equal GPUs may have computed."""
    return device.partition(":")[0]


def _has(identity: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    return all(identity.get(name) == value for name, value in asked.items())
