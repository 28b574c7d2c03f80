"""The folder of a run: what its files contain, and whether it can be continued.

``run.json`` describes the run from its first second on, so that a run that was killed can be
continued and scored without knowing anything else.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from harness.core.errors import AnotherRunError, HarnessError, IntegrityError, UsageError
from harness.core.record import DatasetFacts
from harness.core.requests.inference import BenchRequest, EvalRequest, SweepRequest
from harness.core.requests.pictures import FolderRequest, PredictRequest
from harness.core.requests.training import TrainRequest
from harness.core.run_files import (
    CELLS,
    CHECKPOINTS,
    IDENTITY,
    LAST_OF_DETECTRON2,
    PREDICT,
    PREDICTIONS,
    RECORD,
    RUN,
    SHARDS,
    SWEEP,
)
from harness.core.settings import flat_settings, identity_of, recalled, recorded, replaced, value_of
from harness.core.tasks import has_accuracy
from harness.files.json import read, to_plain, to_typed
from harness.files.layout import runs_folder
from harness.files.toml import placed
from harness.workflows.runs.checksums import (
    damage_of,
    read_sealed,
    read_sums,
    require_undamaged,
)

T = TypeVar("T")

RunKind = Literal["eval", "bench", "sweep", "train", "predict"]

#: The request that each kind of run is started with.
REQUESTS: dict[RunKind, type[FolderRequest]] = {
    "eval": EvalRequest,
    "bench": BenchRequest,
    "sweep": SweepRequest,
    "train": TrainRequest,
    "predict": PredictRequest,
}

#: Kinds of runs that can be continued.
RESUMABLE: tuple[RunKind, ...] = ("eval", "sweep", "train", "predict")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFile:
    """The content of ``run.json``."""

    run_id: str
    """Sorts by time; the folder's name unless another was asked for."""

    kind: RunKind
    """Which command made it."""

    request: dict[str, Any]
    """Its settings, without those that change no number (output, resume, workers)."""

    dataset: DatasetFacts
    """The data set it runs on."""


def new_run_id(request: FolderRequest, now: datetime) -> str:
    """Return an id for a new run.

    Args:
        request: What the run is started with.
        now: When it starts.

    Returns:
        Time, kind, model, engine and a hash, so that ids sort by time; the hash distinguishes runs
        that start in the same second.
    """
    kind = kind_of(request)
    model, engine = _asked_of(request)
    tail = hashlib.sha256(f"{now.isoformat()}{comparable(request)}".encode()).hexdigest()[:6]
    parts = (f"{now:%Y%m%d-%H%M%S}", kind, model, engine, tail)
    return "-".join(part for part in parts if part is not None)


def _asked_of(request: FolderRequest) -> tuple[str, str | None]:
    """Return model and engine of a request; the engine is None where it is not chosen."""
    if isinstance(request, TrainRequest):
        return request.network.model, request.runtime.engine
    return request.inference.network.model, request.inference.options.engine


def kind_of(request: FolderRequest) -> RunKind:
    """Return the word for a request in run ids and records."""
    if isinstance(request, TrainRequest):
        return "train"
    if isinstance(request, SweepRequest):
        return "sweep"
    if isinstance(request, PredictRequest):
        return "predict"
    return "eval" if isinstance(request, EvalRequest) else "bench"


def read_run(folder: Path) -> RunFile:
    """Read ``run.json`` of a run, finished or not.

    Args:
        folder: The run folder.

    Raises:
        UsageError: The folder has no run.
        IntegrityError: ``run.json`` was damaged since it was written.
    """
    path = folder / RUN
    if not path.is_file():
        is_file = folder.is_file()
        raise UsageError(
            f"{folder} is a file, not the folder of a run"
            if is_file
            else f"{folder} holds no run: no {RUN}",
            hint="a file of predictions is scored by: harness score --predictions "
            f"{shlex.quote(str(folder))} --annotations FILE"
            if is_file
            else "runs are made by: harness eval",
        )
    require_undamaged(
        path,
        read_sums(folder).get(RUN),
        repair=f"give the command of the run again, with --output {shlex.quote(str(folder))} "
        "--resume: what is finished is kept",
    )
    return to_typed(RunFile, read(path), where=str(path))


def comparable(request: FolderRequest) -> dict[str, Any]:
    """Return the settings of ``request`` for its run, in any working folder."""
    plain: dict[str, Any] = to_plain(recorded(absolute(request)))
    return {
        key: value for key, value in plain.items() if key not in ("output", "resume", "workers")
    }


def absolute(request: T) -> T:
    """Return a request that means the same in any working folder.

    Args:
        request: Composed of settings.

    Returns:
        A copy with every path, glob and word that names a file made absolute.
    """
    here = Path.cwd()
    settings = flat_settings(type(request))
    return replaced(
        request, **{one.name: placed(one, value_of(request, one), here) for one in settings}
    )


def newest_unfinished(facts: RunFile, notice: Callable[[str], None]) -> Path:
    """Find the newest run that can be continued.

    Args:
        facts: Facts of the run that is requested.
        notice: Called with a sentence for each run that cannot be read and is passed over.

    Returns:
        Its folder.

    Raises:
        UsageError: There is none with this request.
    """
    for folder in sorted(runs_folder().glob(f"*-{facts.kind}-*"), reverse=True):
        if not (folder / RUN).is_file() or is_finished(folder):
            continue
        try:
            found = read_run(folder)
        except HarnessError as error:
            notice(f"passed over: {error.message}")
            continue
        if _same(facts, found.request):
            return folder
    raise UsageError(
        f"nothing to resume: no unfinished run of this request in {runs_folder()}",
        hint="leave out --resume, or name the folder with --output",
    )


def _same(facts: RunFile, request: dict[str, Any]) -> bool:
    """Whether a request kept in a file gives the numbers of this one.

    It may be of a version with fewer settings, or with paths relative to where it was given.
    """
    kind = REQUESTS[facts.kind]
    try:
        kept, asked = (absolute(recalled(kind, one)) for one in (request, facts.request))
        return identity_of(kept) == identity_of(asked)
    except UsageError:  # of another version, with settings that are not known here
        return False


def gives_numbers_of(facts: RunFile, asked: RunFile) -> bool:
    """Return whether an evaluation gives the numbers of another one, whatever computes it.

    A job of a cluster has its own device and threads; the identity of the shards has both.

    Args:
        facts: Facts of the one.
        asked: Facts of the other.
    """
    if facts.dataset.digest != asked.dataset.digest:
        return False
    try:
        found, wanted = (
            replaced(absolute(recalled(EvalRequest, one.request)), device="auto", threads=None)
            for one in (facts, asked)
        )
    except UsageError:  # of another version, with settings that are not known here
        return False
    return identity_of(found) == identity_of(wanted)


def require_own_model(request: FolderRequest) -> None:
    """Check that a run that is to be continued is of the model that is asked for.

    Before anything of that model is read, whose data and weights may be others.

    Args:
        request: Request of an evaluation, a sweep, a training or predictions.

    Raises:
        AnotherRunError: The folder's run is of another model.
    """
    folder = request.output
    if not getattr(request, "resume", False) or folder is None or not (folder / RUN).is_file():
        return
    try:
        found = read_run(folder)
        kept = _asked_of(recalled(REQUESTS[found.kind], found.request))[0]
    except HarnessError:  # what is damaged or of another version is judged where it is continued
        return
    asked = _asked_of(request)[0]
    if kept != asked:
        raise AnotherRunError(
            f"{folder} belongs to another run: it is of the model {kept}, and {asked} is requested",
            hint=f"continue it with --model {kept}, or choose another --output for {asked}",
        )


def resumable(folder: Path, asked: RunFile, notice: Callable[[str], None]) -> RunFile:
    """Find what the run in ``folder`` is, so that it can be continued.

    A finished run can be continued as well where one of its files was damaged since.

    Args:
        folder: The run folder.
        asked: What ``run.json`` would be if the run were begun now; used where it is damaged.
        notice: Called with a sentence for each damage.

    Returns:
        The content of ``run.json``.

    Raises:
        UsageError: There is nothing to continue, or a run of another kind.
    """
    if not (folder / RUN).is_file():
        if not _has_work(folder):
            raise UsageError(f"nothing to resume in {folder}", hint="leave out --resume")
        notice(f"damaged: {folder / RUN} is missing\n  it is written again from this command")
        return asked
    if is_finished(folder):
        damage = _damage_of_finished(folder)
        if not damage:
            raise UsageError(
                f"nothing to resume: the run in {folder} is finished", hint=_after_the_end(folder)
            )
        for sentence in damage:
            notice(f"damaged: {sentence}")
    try:
        found = read_run(folder)
    except IntegrityError as error:
        notice(f"damaged: {error.message}\n  {RUN} is written again from this command")
        return asked
    if found.kind != asked.kind:
        raise UsageError(
            f"{folder} holds a run of another kind: {found.kind}, not {asked.kind}",
            hint=f"continue it as what it is, or choose another --output for the {asked.kind}",
        )
    return found


def _after_the_end(folder: Path) -> str:
    """Return what there is to do with a finished and undamaged run."""
    try:
        record = read(folder / RECORD)
        kind, metrics = record["kind"], dict(record["metrics"])
    except (HarnessError, KeyError, TypeError, ValueError):  # a sweep or predictions have none
        kind, metrics = None, {}
    if kind != "eval":
        return f"nothing is left to do; what it made is in {folder}; another run: another --output"
    if has_accuracy(metrics):
        return f"its numbers again: harness score {shlex.quote(str(folder))}"
    return f"nothing is left to do; its predictions: {folder / PREDICTIONS}"


def _damage_of_finished(folder: Path) -> list[str]:
    """Return a sentence for each file of a finished run that was damaged since."""
    try:
        damage = damage_of(folder, {**_hashes_in_record(folder), **read_sums(folder)})
    except IntegrityError as error:
        return [error.message]
    images = _image_count(folder)
    measured = sorted(one.parent for one in (folder / CELLS).glob(f"*/{PREDICTIONS}"))
    return [*damage, *(fault for cell in measured for fault in _damage_of_cell(cell, images))]


def _image_count(folder: Path) -> int:
    """Return how many images a run has; 0 where that is damaged."""
    try:
        return read_run(folder).dataset.evaluated_images
    except HarnessError:
        return 0


def _damage_of_cell(folder: Path, image_count: int) -> Iterator[str]:
    """Yield a sentence for each file and line of a measured cell that was damaged since."""
    try:
        yield from damage_of(folder, read_sums(folder))
    except IntegrityError as error:
        yield error.message
    found: set[int] = set()
    own = read_sealed(folder / SHARDS / IDENTITY)
    for path in sorted((folder / SHARDS).glob("*.jsonl")):
        shard = read_sealed(path)
        if None not in (own.key, shard.key) and own.key != shard.key:
            yield f"{path} belongs to another run"
        yield from (f"{path}: {fault}" for fault in shard.faults)
        found |= {line["image_id"] for _, line in shard.images}
    if len(found) < image_count:
        yield f"{folder} has {len(found)} of {image_count} images"


def _hashes_in_record(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file that a record has; none of a run without a sound record.

    They outlive the list of checksums, from which a line may have been removed with its file. A
    training may have been recorded with those of its evaluation, which is in a folder of its own.
    """
    try:
        content = read(folder / RECORD)
    except HarnessError:
        return {}
    if not isinstance(content, dict) or content.get("kind") == "train":
        return {}
    hashes = content.get("sha256")
    return hashes if isinstance(hashes, dict) else {}


def require_no_run(folder: Path) -> None:
    """Check that no run has begun in a folder, finished or not.

    Args:
        folder: The run folder; it may be missing.

    Raises:
        UsageError: It has a run, or predictions of another program.
    """
    finished = is_finished(folder)
    if (folder / PREDICTIONS).exists() and not (folder / RUN).exists():
        raise UsageError(
            f"{folder} holds a {PREDICTIONS} that no run of harness wrote",
            hint="choose another --output",
        )
    if finished or _has_work(folder):
        raise UsageError(
            f"{folder} already holds {'a finished' if finished else 'an unfinished'} run",
            hint="choose another --output" + ("" if finished else ", or continue it with --resume"),
        )


def _has_work(folder: Path) -> bool:
    """Return whether there is what a run of harness computed, also where its facts are lost."""
    return has_checkpoint(folder) or any((folder / name).exists() for name in (SHARDS, CELLS))


def has_checkpoint(folder: Path) -> bool:
    """Return whether a training in ``folder`` can be continued."""
    return any((folder / CHECKPOINTS).glob("*.pth")) or (folder / LAST_OF_DETECTRON2).is_file()


def is_finished(folder: Path) -> bool:
    """Return whether the run in ``folder`` wrote what a run writes last."""
    return any((folder / name).exists() for name in (RECORD, SWEEP, PREDICT))
