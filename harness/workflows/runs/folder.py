"""The folder of one run: its lock, its log, how failures inside it are reported, and its record.

The record is ``record.json`` and ``per_category.csv``.
"""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from harness.core.clock import utc_now
from harness.core.errors import (
    AnotherRunError,
    HarnessError,
    IntegrityError,
    Interrupted,
    RunFailedError,
    UsageError,
)
from harness.core.printable import printable, spreadsheet_cell
from harness.core.progress import Progress
from harness.core.record import CategoryScore, CheckpointFacts, DatasetFacts, RunRecord
from harness.core.requests.inference import BenchRequest, EvalRequest
from harness.core.requests.pictures import FolderRequest
from harness.core.run_files import EVALUATIONS, LOG, PER_CATEGORY, PREDICTIONS, RECORD, RUN
from harness.files.atomic import open_to_append, remove_leftovers, write_text
from harness.files.failures import failure_of, unwritable
from harness.files.json import dumps, read, to_plain, to_typed
from harness.files.layout import runs_folder
from harness.files.locks import held, held_at_once
from harness.files.toml import CONFIG, config_text
from harness.workflows.runs.checksums import UNKNOWN, read_sums, require_undamaged, write_checked
from harness.workflows.runs.files import (
    RESUMABLE,
    RunFile,
    RunKind,
    comparable,
    gives_numbers_of,
    has_checkpoint,
    kind_of,
    new_run_id,
    newest_unfinished,
    require_no_run,
    resumable,
)
from harness.workflows.runs.parts import being_part, has_begun, parts_at_work
from harness.zoo.checkpoints import weights_digest

#: Locked by the process at work in the folder. Never removed: two processes could then enter.
LOCK = ".lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run whose folder this process has locked."""

    run_id: str
    """As in ``run.json``."""

    folder: Path
    """Where its files are."""

    begun: datetime
    """When this process opened it, in UTC."""

    command: tuple[str, ...]
    """What the user typed."""

    again: str | None
    """The command that continues it; None where none can."""

    kind: RunKind
    """What made it."""

    progress: Progress
    """Receives notices for the user."""


@contextmanager
def open_run(
    request: FolderRequest,
    dataset: DatasetFacts,
    checkpoint: CheckpointFacts | None,
    *,
    command: tuple[str, ...],
    now: datetime,
    progress: Progress,
) -> Iterator[Run]:
    """Open the run of ``request`` in a writable folder that no other process may enter meanwhile.

    A new run begins in ``request.output`` or below ``results/runs``; one to resume is found in
    ``output``, or is the newest unfinished run of the same request. Inside the block failures are
    logged, and Ctrl-C or a full disk becomes an error that names the command that continues.

    Args:
        request: The settings of the run.
        dataset: The data set it runs on.
        checkpoint: The weights as they were proven, which are not read again; None where none were.
        command: What the user typed.
        now: For the run id.
        progress: Receives notices for the user.

    Raises:
        UsageError: The folder cannot be written, is in use, has a run, or nothing to resume.
    """
    asked = _begun_now(request, dataset, now)
    resume = not isinstance(request, BenchRequest) and request.resume
    folder, facts = _found(request.output, asked, resume, progress)
    with _held(folder):
        if not resume:
            require_no_run(folder)
        facts = _corrected(folder, facts, asked, progress)
        if facts is asked:  # a new run, or one whose run.json was damaged
            _begin(folder, facts, request, checkpoint)
        again = continuing(command, folder) if facts.kind in RESUMABLE else None
        run = _run(facts, folder, command=command, again=again, now=now, progress=progress)
        with _logged(run):
            announce(run, f"run folder: {folder}")
            yield run


@contextmanager
def join_run(
    request: EvalRequest,
    dataset: DatasetFacts,
    checkpoint: CheckpointFacts | None,
    *,
    command: tuple[str, ...],
    now: datetime,
    progress: Progress,
) -> Iterator[Run]:
    """Open the run in ``request.output``, which the first of several processes begins.

    Its folder is locked only until it is known that its run is the one asked for, so that all of
    them work in it at once, each on a shard of its own. What scores them waits until the block of
    each has ended. Failures are as in `open_run`; the command that continues is the one typed.

    Args:
        request: The settings of the run; its output is set.
        dataset: As in `open_run`.
        checkpoint: As in `open_run`.
        command: As in `open_run`.
        now: As in `open_run`.
        progress: As in `open_run`.

    Raises:
        UsageError: The folder cannot be written, or has a run that is finished or of another kind.
    """
    asked, folder = _begun_now(request, dataset, now), request.output
    assert folder is not None
    with ExitStack() as at_work:
        with _held(folder, waiting=progress.notice):
            if (folder / RUN).is_file():
                facts = resumable(folder, asked, progress.notice)
                facts = _corrected(folder, facts, asked, progress)
            else:
                require_no_run(folder)
                facts = asked
            if facts is asked:
                _begin(folder, facts, request, checkpoint)
            at_work.enter_context(being_part(folder))
        again = shlex.join(command)
        run = _run(facts, folder, command=command, again=again, now=now, progress=progress)
        with _logged(run):
            yield run


def _run(
    facts: RunFile,
    folder: Path,
    *,
    command: tuple[str, ...],
    again: str | None,
    now: datetime,
    progress: Progress,
) -> Run:
    return Run(
        run_id=facts.run_id,
        folder=folder,
        begun=now,
        command=command,
        again=again,
        kind=facts.kind,
        progress=progress,
    )


def _begun_now(request: FolderRequest, dataset: DatasetFacts, now: datetime) -> RunFile:
    """Return what ``run.json`` is to say of a run that begins now."""
    return RunFile(
        run_id=new_run_id(request, now),
        kind=kind_of(request),
        request=comparable(request),
        dataset=dataset,
    )


def _found(
    output: Path | None, asked: RunFile, resume: bool, progress: Progress
) -> tuple[Path, RunFile]:
    """Return the folder of the run, and what ``run.json`` says or is to say."""
    if not resume:
        return output or runs_folder() / asked.run_id, asked
    folder = output or newest_unfinished(asked, progress.notice)
    return folder, resumable(folder, asked, progress.notice)


def _corrected(folder: Path, facts: RunFile, asked: RunFile, progress: Progress) -> RunFile:
    """Return what an evaluation is that was begun otherwise and has no image: what is asked for.

    What began it may have ended before its first image for a setting that has changed since.
    From the first image on, the identity of the shards decides.

    Args:
        folder: The locked run folder.
        facts: What ``run.json`` says.
        asked: What it would say if the run were begun now.
        progress: Receives a notice.

    Raises:
        AnotherRunError: The parts that began it are at work.
    """
    if (
        facts is asked
        or asked.kind != "eval"
        or has_begun(folder)
        or gives_numbers_of(facts, asked)
    ):
        return facts
    if parts_at_work(folder):
        raise AnotherRunError(
            f"parts of another run are at work in {folder}",
            hint="use the settings of those, or choose another --output",
        )
    progress.notice(
        f"{folder} was started with other settings and has no image yet: it is started again"
    )
    return asked


def announce(run: Run, text: str) -> None:
    """Report one line to the user and in ``log.txt``."""
    run.progress.notice(text)
    log(run, text)


def log(run: Run, text: str) -> None:
    """Write one line to ``log.txt`` alone; control characters, as of names, become escapes."""
    with open_to_append(run.folder / LOG) as file:
        file.write(f"{utc_now():%Y-%m-%dT%H:%M:%SZ} {printable(text)}\n")


@contextmanager
def keeping(run: Run) -> Iterator[None]:
    """Add to errors in the block that finished images are kept, and how to continue.

    Args:
        run: The run that the block works on.

    Raises:
        RunFailedError: With the longer hint; an IntegrityError likewise.
    """
    try:
        yield
    except AnotherRunError:
        raise
    except (RunFailedError, IntegrityError) as error:
        kept = f"finished images are kept; continue with: {run.again}"
        hint = kept if error.hint is None else f"{error.hint}\n  {kept}"
        raise type(error)(error.message, hint=hint) from error.__cause__


@contextmanager
def _held(folder: Path, *, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Lock the folder, and remove what killed processes left in it.

    Args:
        folder: Folder of a run.
        waiting: Called with who holds it, which is waited for; None where that is an error.

    Raises:
        UsageError: It cannot be written, or another process is at work in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    hint = "wait until it ends, or choose another --output"
    lock = folder / LOCK
    with held_at_once(lock, hint=hint) if waiting is None else held(lock, notice=waiting):
        for inner in (folder, *(one for one in folder.iterdir() if one.is_dir())):
            remove_leftovers(inner)
        yield


@contextmanager
def _logged(run: Run) -> Iterator[None]:
    """Write errors of the block to ``log.txt`` as well."""
    try:
        with _interruptible(run):
            yield
    except HarnessError as error:
        with suppress(OSError):  # the disk may be what failed
            log(run, f"error: {error}")
        raise


@contextmanager
def _interruptible(run: Run) -> Iterator[None]:
    """Turn Ctrl-C, SIGTERM and failures of the disk into errors that say how to continue.

    Raises:
        Interrupted: The user or a scheduler stopped the process.
        RunFailedError: The disk is full, or fails otherwise.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("interrupted", hint=next_step(run)) from None
    except BrokenPipeError:
        raise
    except UsageError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        # What was asked for is right, and a file of the run cannot be used any more.
        again = next_step(run)
        hint = again if error.hint is None else f"{error.hint}\n  {again}"
        raise UsageError(error.message, hint=hint) from error.__cause__
    except Exception as error:
        again = next_step(run)
        failure = failure_of(error, place=run.folder, then=again)
        if isinstance(failure, RunFailedError):
            raise failure from error
        if not isinstance(error, OSError):
            raise
        place = error.filename or run.folder
        raise RunFailedError(f"{place}: {error.strerror or error}", hint=again) from error


def next_step(run: Run) -> str:
    """Return how to go on with a run that came to no end, as the folder is now.

    A training without a checkpoint has nothing to continue from.
    """
    if run.again is None:
        return "start it again"
    if run.kind == "train" and not has_checkpoint(run.folder):
        return f"nothing was saved yet; start it again with: {shlex.join(run.command)}"
    return f"continue with: {run.again}"


def _begin(
    folder: Path, facts: RunFile, request: FolderRequest, checkpoint: CheckpointFacts | None
) -> None:
    """Write what a run is begun with; the settings first: a folder with run.json is complete."""

    def digest(path: Path) -> str:
        if checkpoint is not None and Path(checkpoint.path) == path:
            return checkpoint.sha256
        return weights_digest(path)

    write_text(folder / CONFIG, config_text(request, command=facts.kind, digest=digest))
    write_checked(folder, RUN, dumps(to_plain(facts), indent=2) + "\n")


def continuing(command: tuple[str, ...], folder: Path) -> str:
    """Return the shell command that continues the run in ``folder``.

    Args:
        command: What the user typed when it began.
        folder: The run folder.
    """
    words = [word for word in command if word != "--resume"]
    if not any(word == "--output" or word.startswith("--output=") for word in words):
        words += ["--output", str(folder)]
    return shlex.join([*words, "--resume"])


def write_record(folder: Path, record: RunRecord) -> None:
    """Write ``record.json`` and ``per_category.csv`` with their checksums, each whole or not at
    all.

    The record is written last: a folder that has it is a finished run.

    Args:
        folder: The run folder.
        record: Record of the finished run.
    """
    if record.per_category:
        write_checked(folder, PER_CATEGORY, category_table(record.per_category))
    write_checked(folder, RECORD, dumps(to_plain(record), indent=2) + "\n")


def read_record(folder: Path) -> RunRecord:
    """Read the validated record of a finished run.

    Args:
        folder: The run folder.

    Raises:
        UsageError: The run has no record yet.
        IntegrityError: It does not fit its schema, or was damaged since it was written.
    """
    path = folder / RECORD
    if path.is_file():
        require_undamaged(path, read_sums(folder).get(RECORD), repair=_repair(folder))
    return to_typed(RunRecord, read(path), where=str(path))


def require_own_predictions(folder: Path) -> str | None:
    """Compare ``predictions.json`` of a run with its checksum.

    Args:
        folder: A run folder with predictions, finished or not.

    Returns:
        A sentence where the run has no checksum of it, because an older version wrote it.

    Raises:
        IntegrityError: The file was damaged or replaced since the run wrote it.
    """
    path, repair = folder / PREDICTIONS, _repair(folder)
    expected = read_sums(folder).get(PREDICTIONS)
    if (folder / RECORD).is_file():
        record = read_record(folder)
        expected = record.sha256.get(PREDICTIONS) if expected is None else expected
        if record.kind == "eval":
            repair = f"what is damaged is made again by: {continuing(record.command, folder)}"
    if require_undamaged(path, expected, repair=repair):
        return None
    return UNKNOWN.format(path=path)


def _repair(folder: Path) -> str:
    """Return what to do about a damaged file of an evaluation whose command is not known."""
    return (
        "give the command of the run again, with --output "
        f"{shlex.quote(str(folder))} --resume: only what is damaged is made again"
    )


def category_table(rows: tuple[CategoryScore, ...]) -> str:
    """Return a table of comma-separated values.

    Args:
        rows: One a task and category.

    Returns:
        Task, category id, name, AP (0-100, empty when undefined) and reason, with a header. A name
        that a spreadsheet would run as a formula has an apostrophe before it.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("task", "category_id", "name", "ap", "reason"))
    for row in rows:
        ap = "" if row.ap is None else f"{row.ap:.6f}"
        writer.writerow((row.task, row.category_id, spreadsheet_cell(row.name), ap, row.reason))
    return text.getvalue()


def evaluation_of(folder: Path) -> Path:
    """Return the folder of the evaluation that stands for a run: of a training the best one's.

    Raises:
        UsageError: There is no finished evaluation.
    """
    if not (folder / RECORD).is_file():
        raise UsageError(
            f"{folder} holds no finished evaluation", hint="they are made by: harness eval"
        )
    record = read_record(folder)
    if record.kind != "train":
        return folder
    summary = record.resolved.get("summary") or {}
    iteration = summary.get("best_iteration", record.resolved.get("iterations"))
    return folder / EVALUATIONS / f"iteration-{iteration:07d}"
