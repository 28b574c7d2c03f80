"""``harness sweep``: one model under many settings, each with its speed and its AP.

Each cell is measured in a process of its own, one after the other: two at once would share the
device. What a cell leaves in its folder is kept, so a sweep that was stopped measures the rest.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from harness import __version__
from harness.core.engine import EngineName
from harness.core.errors import AnotherRunError, HarnessError
from harness.core.printable import counted
from harness.core.progress import Advance, Progress
from harness.core.requests.inference import SweepRequest
from harness.core.run_files import CELLS, LOG, PAGE, SWEEP
from harness.core.settings import recorded, replaced
from harness.data.run_dataset import require_same_images
from harness.engines.opening import (
    default_batch_sizes,
    device_class_of,
    modules_of,
    own_memory_format,
    require_settings,
)
from harness.files.atomic import write_text
from harness.files.environment import read_environment
from harness.files.json import differences, dumps, read, to_plain, to_typed
from harness.launch.local import Work, prepare_workers, run_workers
from harness.measure.sweep import CellStatus, Setting, Speed, Sweep, SweepCell, recommend
from harness.report.page import sweep_page
from harness.report.sweep import cell_sentence
from harness.report.sweep_plot import draw_sweep
from harness.workflows.benchmark.bench import check_values
from harness.workflows.benchmark.sweep_cell import (
    SPEED,
    CellTask,
    Standard,
    accuracy_of,
    is_measured,
    measure_cell,
    standard_of,
)
from harness.workflows.evaluation.inference import asked_identity
from harness.workflows.evaluation.resolve import Job, resolve
from harness.workflows.evaluation.resolve import check_values as check_inference
from harness.workflows.runs.checksums import write_checked
from harness.workflows.runs.files import comparable, read_run, require_own_model
from harness.workflows.runs.folder import Run, announce, keeping, log, open_run
from harness.workflows.runs.shards import (
    new_images,
    read_header,
    read_identity,
    shard_path,
    shard_paths,
)

PICTURE = "sweep.png"

Measure = Callable[[CellTask], None]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SweepResult:
    """A finished sweep, as the API returns it."""

    sweep: Sweep
    """Every cell with its numbers, and the recommendations."""

    folder: Path
    """The run folder, with the page and the plot of the sweep."""

    def __repr__(self) -> str:
        """How many cells there are, and where."""
        cells = counted(len(self.sweep.cells), "cell")
        return f"<SweepResult of {self.sweep.model}: {cells} ({self.folder})>"


def sweep(
    request: SweepRequest,
    *,
    progress: Progress,
    command: tuple[str, ...],
    now: datetime,
    measure: Measure = measure_cell,
) -> tuple[Sweep, Path]:
    """Measure one model under many settings.

    A cell that fails is recorded and the next one begins, unless it is the reference cell.

    Args:
        measure: Measures one cell in a process of its own; must be importable by name.

    Returns:
        The finished sweep, and its folder.

    Raises:
        AnotherRunError: The folder has cells of another sweep.
        HarnessError: The request is invalid, or the reference cell failed.
    """
    job = _resolved(request)
    prepare_workers(_modules(job, measure))  # while this process imports the same
    settings = settings_of(request, job.engine)
    _require(job, settings[0])
    if request.resume and request.output is not None and _is_sound(request.output):
        _require_same(request.output, request, job)  # also of a sweep that is finished
    with open_run(
        request, job.dataset_facts, job.checkpoint, command=command, now=now, progress=progress
    ) as run:
        _require_same(run.folder, request, job)
        with keeping(run):
            cells = _measured(request, job, run, settings, measure)
        found = Sweep(
            run_id=run.run_id,
            created_utc=now.isoformat(timespec="seconds"),
            harness_version=__version__,
            command=command,
            request=to_plain(recorded(request)),
            model=job.entry.name,
            checkpoint=job.checkpoint,
            dataset=job.dataset_facts,
            environment=read_environment(),
            tolerance_ap=request.ap_tolerance,
            cells=tuple(cells),
            choices=recommend(cells, request.ap_tolerance),
        )
        _write(found, run.folder)
    return found, run.folder


def _write(found: Sweep, folder: Path) -> None:
    """Write page, plot and record of a sweep; the record last: it marks the sweep as finished."""
    write_text(folder / PAGE, sweep_page(found))
    draw_sweep(found, folder / PICTURE)
    write_checked(folder, SWEEP, dumps(to_plain(found), indent=2) + "\n")


def _resolved(request: SweepRequest) -> Job:
    """Return the evaluation that each cell is, of a valid request."""
    check_values(request)
    require_own_model(request)
    return resolve(request.inference)


def _modules(job: Job, measure: Measure) -> tuple[str, ...]:
    """Return what the process of a cell imports, where that takes long."""
    of_engine = modules_of(job.engine, job.request.options.device)
    return of_engine and (measure.__module__, *of_engine)


def settings_of(request: SweepRequest, engine: EngineName) -> list[Setting]:
    """Return every combination of the axes once, the reference first even when no axis has it.

    Args:
        request: The axes.
        engine: Engine of all cells.
    """
    axes = request.axes
    reference = Setting(
        precision="fp32",
        memory_format=own_memory_format(engine, request.inference.options),
        compile=False,
        batch_size=1,
    )
    batch_sizes = axes.batch_sizes or default_batch_sizes(engine, request.inference.options.device)
    combined = [
        Setting(precision=precision, memory_format=memory, compile=compiled, batch_size=size)
        for size, precision, memory, compiled in product(
            batch_sizes, axes.precisions, axes.memory_formats, axes.compiled
        )
    ]
    return list(dict.fromkeys([reference, *combined]))


def with_setting(job: Job, setting: Setting) -> Job:
    """Return the job with the precision, batch size and other choices of a setting."""
    request = replaced(
        job.request,
        precision=setting.precision,
        memory_format=setting.memory_format,
        compile=setting.compile,
        batch_size=setting.batch_size,
    )
    return replace(job, request=request)


def _require(job: Job, setting: Setting) -> None:
    require_settings(job.engine, with_setting(job, setting).request.options)


def _is_sound(folder: Path) -> bool:
    """Return whether a folder has a sweep, finished or not, whose settings are undamaged."""
    try:
        return read_run(folder).kind == "sweep"
    except HarnessError:
        return False


def _require_same(folder: Path, request: SweepRequest, job: Job) -> None:
    """Check that the cells measured so far can be compared with new ones.

    Args:
        folder: Of the sweep.
        request: What is asked for now.
        job: The evaluation that each cell is.

    Raises:
        AnotherRunError: They are of another sweep.
    """

    def facts(plain: dict[str, object]) -> dict[str, object]:
        inference = plain["inference"]
        assert isinstance(inference, dict)
        return {**inference, **{name: plain[name] for name in ("warmup", "repeats")}}

    differing = differences(facts(read_run(folder).request), facts(comparable(request)))
    expected = {
        **asked_identity(job),
        **{f"architecture.{name}": one for name, one in to_plain(job.architecture).items()},
        "device_class": device_class_of(job.engine, request.inference.options.device),
    }
    strange = []
    for setting in settings_of(request, job.engine):
        cell = folder / CELLS / setting.name
        fixed = {**expected, **_fixed_by(setting, job.engine)}
        header = _begun_with(cell) or fixed
        if found := differences({name: header.get(name) for name in fixed}, fixed):
            strange.append(cell)
            differing += [f"{CELLS}/{cell.name}: {one}" for one in found]
    if differing:
        raise AnotherRunError(
            f"{folder} holds another sweep:\n  " + "\n  ".join(dict.fromkeys(differing)),
            hint="use the settings of that one, or choose another --output" + _removing(strange),
        )


def _begun_with(folder: Path) -> dict[str, Any] | None:
    """Return what the measuring of a cell was begun with; None where that is not known."""
    shards = (read_header(path) for path in shard_paths(folder))
    return read_identity(folder) or next(filter(None, shards), None)


def _fixed_by(setting: Setting, engine: EngineName) -> dict[str, object]:
    """Return what the identity of a cell has of its setting."""
    fixed: dict[str, object] = {"batch_size": setting.batch_size}
    if engine != "fake":  # computes in fp32 whatever is asked
        fixed |= {"precision": setting.precision, "compiled": setting.compile}
        fixed |= {"memory_format": setting.memory_format}
    return fixed


def _removing(cells: Sequence[Path]) -> str:
    """Return how cells of another sweep, or in the place of others, are measured again."""
    names = " ".join(shlex.quote(str(folder)) for folder in cells)
    return f"\n  or measure such cells again; remove them with: rm -r {names}" if names else ""


def _measured(
    request: SweepRequest, job: Job, run: Run, settings: Sequence[Setting], measure: Measure
) -> list[SweepCell]:
    """Return all cells, in the order of ``settings``."""
    images = len(job.dataset.images)
    reasons = {one: _unable(job, one) for one in settings}
    possible = [one for one in settings if not reasons[one]]
    tasks = {one: _task(request, job, settings[0], one, run.folder) for one in possible}
    standard = cache(lambda: standard_of(job, tasks[settings[0]].folder))
    cells: list[SweepCell] = []
    with run.progress.task("sweep", total=images * len(possible), unit="img") as advance:
        for setting in settings:
            if reasons[setting]:
                cells.append(_without_numbers(setting, "skipped", reasons[setting]))
                log(run, cell_sentence(cells[-1]))
                continue
            advance(0, f"cell {possible.index(setting) + 1} of {len(possible)}: {setting.name}")
            cells.append(
                _cell_or_failure(
                    setting,
                    tasks[setting],
                    job,
                    run,
                    standard=standard,
                    measure=measure,
                    advance=advance,
                )
            )
            announce(run, cell_sentence(cells[-1]))
            for sentence in _notes(cells[-1]):
                announce(run, f"note: {setting.name}: {sentence}")
    return cells


def _notes(cell: SweepCell) -> tuple[str, ...]:
    return () if cell.speed is None else cell.speed.notes


def _cell_or_failure(
    setting: Setting,
    task: CellTask,
    job: Job,
    run: Run,
    *,
    standard: Callable[[], Standard],
    measure: Measure,
    advance: Advance,
) -> SweepCell:
    """Return one cell, also one that failed.

    Raises:
        AnotherRunError: Its images are not those of the reference cell any more.
        HarnessError: The reference cell failed, and with it the sweep.
    """
    if task.reference is not None:
        require_same_images(job.dataset, standard().stamps)  # before time is spent on others
    try:
        _measure(task, run, measure, advance)
    except AnotherRunError:
        raise
    except HarnessError as error:
        if task.reference is None:
            raise
        log(run, f"error: {error}")
        return _without_numbers(setting, "failed", _line(error, setting))
    require_same_images(job.dataset, standard().stamps)
    accuracy = accuracy_of(job, standard(), task.folder, run.progress.notice)
    return SweepCell(
        setting=setting,
        status="measured",
        speed=_read_speed(task.folder),
        ap=accuracy.ap,
        delta=accuracy.delta,
    )


def _task(
    request: SweepRequest, job: Job, reference: Setting, setting: Setting, folder: Path
) -> CellTask:
    proven = job.without_ground_truth()
    return CellTask(
        job=with_setting(proven, setting),
        reference=None if setting == reference else with_setting(proven, reference),
        folder=folder / CELLS / setting.name,
        timing=request.timing,
    )


def _measure(task: CellTask, run: Run, measure: Measure, advance: Advance) -> None:
    """Measure a cell unless that was done."""
    path = shard_path(task.folder, 0)
    done, position = new_images(path, 0)
    advance(done)

    def poll() -> None:
        nonlocal position
        images, position = new_images(path, position)
        advance(images)

    if not is_measured(task, run.progress.notice):
        part = Work(name=task.folder.name, item=task, log=task.folder / LOG)
        run_workers(
            measure,
            [part],
            notice=run.progress.notice,
            poll=poll,
            modules=_modules(task.job, measure),
        )


def _unable(job: Job, setting: Setting) -> str:
    """Return why a cell cannot be measured here; empty when it can."""
    try:
        check_inference(with_setting(job, setting).request)
        _require(job, setting)
    except HarnessError as error:
        return error.message
    images = len(job.dataset.images)
    if setting.batch_size > images:
        return f"batch {setting.batch_size} is more than the {counted(images, 'image')}"
    return ""


def _without_numbers(setting: Setting, status: CellStatus, reason: str) -> SweepCell:
    return SweepCell(setting=setting, status=status, reason=reason, ap={}, delta={})


def _line(error: HarnessError, setting: Setting) -> str:
    """An error in one line, without the name of its cell."""
    return error.message.removeprefix(f"{setting.name}: ").partition("\n")[0]


def _read_speed(folder: Path) -> Speed:
    return to_typed(Speed, read(folder / SPEED), where=str(folder / SPEED))
