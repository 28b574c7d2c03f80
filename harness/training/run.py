"""The training loop: iterations, checkpoints and evaluations.

On a signal to stop, a training finishes its iteration, or leaves its evaluation at once, and saves
a checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch

from harness.core.errors import HarnessError, Interrupted, RunFailedError
from harness.core.printable import counted
from harness.core.progress import Advance, Curves, Progress
from harness.core.run_files import CHECKPOINTS
from harness.data.objects import TrainingSet
from harness.engines.devices import apply_precision, apply_threads
from harness.files.environment import peak_process_bytes
from harness.files.failures import lacks_memory, reason_of
from harness.measure.curve_band import Watch
from harness.training.augmentation import Augmentation, augmentation_for
from harness.training.checkpoints import CheckpointClock, checkpoints, resume, save, write_weights
from harness.training.log import CHOSEN_BY, Best, TrainingLog, selection_metric
from harness.training.notes import Notes
from harness.training.order import Draw, batches
from harness.training.processes import World
from harness.training.samples import Sample, sample_batches
from harness.training.setup import Setup, build_trainer
from harness.training.step import Trainer, measure_losses, pinning, run_iteration
from harness.training.stop import Stop
from harness.training.weight_files import WEIGHTS_BEST, WEIGHTS_LAST, restored

#: Validation images whose losses are measured at an evaluation: a curve, not a verdict.
VALIDATION_IMAGES = 200


class Evaluate(Protocol):
    """Evaluates the weights of a training."""

    def __call__(
        self, weights: Path, iteration: int, notice: Callable[[str], None]
    ) -> dict[str, float]:
        """Return numbers by name (``bbox/AP`` …) of the weights after an iteration.

        Args:
            weights: Their file.
            iteration: Which of the training.
            notice: Receives what the user should see.
        """
        ...

    def before(self, weights: Path, notice: Callable[[str], None]) -> None:
        """Look at the weights that a training begins with, where they are not evaluated."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loop:
    """What the iterations of a training are made with, in one of its processes."""

    setup: Setup
    """The settings."""

    trainer: Trainer
    """The network and its optimizer, at some iteration."""

    best: Best
    """The best evaluation so far; it is updated."""

    saved: CheckpointClock
    """When the last checkpoint was saved, and when the next is due."""

    stop: Stop
    """Signals that arrived."""

    log: TrainingLog | None
    """Of the first process; None in others."""

    notes: Notes
    """What is done otherwise than asked; reported by the first process."""

    progress: Progress
    """Shows iterations and receives notices."""

    evaluate: Evaluate
    """Evaluates weights; called in the first process."""

    @property
    def is_last(self) -> bool:
        """Whether the schedule is finished."""
        return self.trainer.iteration == self.trainer.schedule.iterations


def run_training(
    setup: Setup, device: torch.device, world: World, *, progress: Progress, evaluate: Evaluate
) -> Best:
    """Train to the end of the schedule; weights, checkpoints and logs are in the run folder.

    Returns:
        The best evaluation.

    Raises:
        Interrupted: After a checkpoint, on one of `STOP_SIGNALS` or Ctrl-C.
        RunFailedError: A loss is not finite, or memory ran out.
    """
    trainer, initial = build_trainer(setup, device, world)
    best = Best()
    folder = setup.folder / CHECKPOINTS
    begun = bool(checkpoints(folder)) or (setup.folder / WEIGHTS_BEST).exists()
    continues = setup.config.resume and begun
    if continues:
        notice = progress.notice if world.is_first else _silent
        facts = resume(folder, trainer, setup.identity, notice=notice, notes=trainer.notes)
        _require_one_iteration(trainer)
        best = restored(setup.folder, trainer, Best(**facts), notice)
    notes = Notes(setup.folder, progress.notice)
    if world.is_first:
        if setup.config.resume and not continues:  # it was killed before its first one
            progress.notice(f"no checkpoint in {folder} yet: the training begins again")
        sentence = f"continuing at iteration {trainer.iteration}"
        progress.notice(sentence if continues else initial.sentence)
        notes.report(trainer.notes)
    stop = Stop(setup.checkpoint_signals)
    with stop.listening(), _first_process_log(setup, trainer, best, progress) as log:
        loop = _Loop(
            setup=setup,
            trainer=trainer,
            best=best,
            saved=CheckpointClock(setup.config.checkpoint_every, trainer.iteration, time.monotonic),
            stop=stop,
            log=log,
            notes=notes,
            progress=progress,
            evaluate=evaluate,
        )
        with _keeping(loop):
            _look_before(setup, trainer, progress, evaluate)
            _iterate(loop)
    return best


def _silent(_: str) -> None:
    """Ignore a notice."""


def _require_one_iteration(trainer: Trainer) -> None:
    """Check that all processes continue from the same iteration.

    Raises:
        RunFailedError: They read different checkpoints, because one of them is damaged.
    """
    mean = trainer.world.mean_count(trainer.iteration)
    if mean != trainer.iteration:
        raise RunFailedError(
            f"this process read the checkpoint of iteration {trainer.iteration}, others another "
            "one: not all of them can read the newest",
            hint="remove the newest checkpoint, and continue with --resume",
        )


def _iterate(loop: _Loop) -> None:
    setup, trainer, best = loop.setup, loop.trainer, loop.best
    last, done = trainer.schedule.iterations, trainer.iteration
    with (
        closing(training_batches(setup, trainer, trainer.world)) as samples,
        loop.progress.task("train", total=last, done=done, unit="it") as tick,
    ):
        while True:
            if _evaluation_is_due(setup, trainer.iteration) and best.evaluated < trainer.iteration:
                _evaluate_and_save(loop)
            if loop.is_last:
                break
            begun = time.perf_counter()
            batch = next(samples)
            loaded = time.perf_counter()
            logged = run_iteration(trainer, batch)
            logged["time"] = torch.tensor(time.perf_counter() - begun)
            logged["data_time"] = torch.tensor(loaded - begun)
            flags = _book(loop, logged, tick)
            if trainer.world.is_first:
                loop.notes.report(trainer.notes)
            if any(flags):
                _save(loop, when=True)
            if flags.stopping:
                raise Interrupted(
                    f"stopped by {loop.stop.name} after iteration {trainer.iteration}, "
                    "checkpoint kept"
                )


def _look_before(setup: Setup, trainer: Trainer, progress: Progress, evaluate: Evaluate) -> None:
    """Have the first weights looked at, where no evaluation of them does that."""
    if trainer.iteration == 0 and not _evaluation_is_due(setup, 0):
        if trainer.world.is_first:
            write_weights(setup.folder / WEIGHTS_LAST, trainer)
            with _own_arithmetic(setup, trainer):
                evaluate.before(setup.folder / WEIGHTS_LAST, progress.notice)
        trainer.world.wait()


def _evaluate_and_save(loop: _Loop) -> None:
    """Evaluate; save before it where much would be lost, and after it where something was found.

    The best weights on disk and those that a checkpoint calls the best are always the same.
    """
    trainer, best, saved = loop.trainer, loop.best, loop.saved
    iteration = trainer.iteration
    _save(loop, when=loop.is_last or saved.is_far(iteration))
    try:
        with loop.stop.leaving_at_once(f"the evaluation of iteration {iteration}"):
            _evaluate(loop)
    except HarnessError:
        if trainer.world.is_first and not saved.is_saved(iteration):
            save(loop.setup.folder / CHECKPOINTS, trainer, loop.setup.identity, asdict(best))
            saved.saved(iteration)
        raise
    best.evaluated = iteration
    # Before the first iteration there is nothing that starting again would lose.
    is_new = best.iteration == iteration > 0
    _save(loop, when=loop.is_last or is_new)


class Flags(NamedTuple):
    """What follows an iteration."""

    due: bool
    """A checkpoint is due."""

    saving: bool
    """A signal asks for a checkpoint."""

    stopping: bool
    """A signal asks for the end."""


def training_batches(
    setup: Setup, trainer: Trainer, world: World
) -> Generator[list[Sample], None, None]:
    """Yield the samples of every batch that one process trains on.

    Args:
        setup: Setup of the training.
        trainer: Its iteration is the first.
        world: The process.
    """
    images = setup.training.images
    wide = [one.record.width_px > one.record.height_px for one in images]
    seed = setup.config.schedule.seed
    whole = batches(wide, trainer.schedule.batch_size, seed, start=trainer.iteration)
    return sample_batches(
        images,
        setup.training.dataset.images_dir,
        augmentation_for(setup.architecture, setup.config.augmentation.augment),
        setup.architecture,
        whole,
        part=world.share(trainer.schedule.batch_size),
        seed=seed,
        loaders=setup.config.runtime.loaders,
        keep=pinning(trainer.device),
    )


def _book(loop: _Loop, logged: dict[str, torch.Tensor], tick: Advance) -> Flags:
    """Log one iteration, averaged over processes; return what any of them asks for."""
    trainer, log = loop.trainer, loop.log
    names = sorted(logged)
    vector = torch.stack([logged[name].double() for name in names])
    # The first process's clock decides for all of them: their clocks differ.
    due = trainer.world.is_first and loop.saved.is_due(trainer.iteration)
    asked = torch.tensor([float(due)], dtype=torch.float64)
    vector = torch.cat([vector, asked, loop.stop.flags()])
    *values, is_due, saving, stopping = trainer.world.mean(vector).tolist()
    line = dict(zip(names, values, strict=True))
    line["lr"] = trainer.schedule.rate_at(trainer.iteration - 1)
    if log is not None:
        written = log.add(trainer.iteration, line, last=loop.is_last)
        loss = written["total_loss"] if written is not None else log.recent("total_loss")
        memory = peak_memory_bytes(trainer.device) / 2**30
        tick(1, f"loss {loss:.3f}  lr {line['lr']:.2g}  {memory:.1f} GiB")
    return Flags(is_due > 0, saving > 0, stopping > 0)


def peak_memory_bytes(device: torch.device) -> int:
    """Return the peak memory: on a GPU that of torch, otherwise that of this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return peak_process_bytes()


def _evaluation_is_due(setup: Setup, iteration: int) -> bool:
    """Return whether an evaluation follows ``iteration``; one always follows the last."""
    every = setup.config.eval_every or 0
    if iteration == 0:
        return setup.begins_with_evaluation and every > 0
    if iteration == setup.schedule.iterations:
        return True
    return every > 0 and iteration % every == 0


def _evaluate(loop: _Loop) -> None:
    """Losses and AP on the validation data by the first process; the others wait."""
    setup, trainer, log, best = loop.setup, loop.trainer, loop.log, loop.best
    if trainer.world.is_first and log is not None:
        write_weights(setup.folder / WEIGHTS_LAST, trainer)
        numbers = {
            **_losses_of(setup, trainer, setup.validation, "validation"),
            **({} if setup.test is None else _losses_of(setup, trainer, setup.test, "test")),
        }
        notice = loop.progress.notice
        with _own_arithmetic(setup, trainer):
            scores = loop.evaluate(setup.folder / WEIGHTS_LAST, trainer.iteration, notice)
        log.write(trainer.iteration, {**numbers, **scores})
        shown = [f"{name} {scores[name]:.2f}" for name in scores if name.endswith(CHOSEN_BY)]
        for kind in ("validation", "test"):
            if (loss := numbers.get(f"{kind}/total_loss")) is not None:
                shown.append(f"{kind} loss {loss:.3f}")
        notice(f"iteration {trainer.iteration}: {', '.join(shown) or 'no AP and no loss'}")
        value = selection_metric(setup.config.best_by, numbers, scores)
        if value >= best.value:
            write_weights(setup.folder / WEIGHTS_BEST, trainer)
            best.value, best.iteration = value, trainer.iteration
    trainer.world.wait()


@contextmanager
def _own_arithmetic(setup: Setup, trainer: Trainer) -> Iterator[None]:
    """Give the training its threads and precision back after an engine has set its own."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        apply_threads(threads)
        apply_precision(setup.config.runtime.precision, trainer.device)


def _losses_of(setup: Setup, trainer: Trainer, data: TrainingSet, kind: str) -> dict[str, float]:
    """Return the mean losses of some images, without augmentation; none where there is no image."""
    images = data.images[:VALIDATION_IMAGES]
    if not images:
        return {}
    still = Augmentation(
        short_edges_px=(setup.architecture.short_edge_px,),
        long_edge_max_px=setup.architecture.long_edge_max_px,
        flip_probability=0.0,
    )
    samples = sample_batches(
        images,
        data.dataset.images_dir,
        still,
        setup.architecture,
        ([Draw(index, index)] for index in range(len(images))),
        seed=setup.config.schedule.seed,
        loaders=setup.config.runtime.loaders,
        keep=pinning(trainer.device),
    )
    with closing(samples):
        losses = measure_losses(trainer, samples)
    return {f"{kind}/{name}": value for name, value in losses.items()}


def _save(loop: _Loop, *, when: bool) -> None:
    """Write a checkpoint in the first process; the others wait for it.

    Args:
        when: Whether to; the first process's word counts, and all come here alike.
    """
    setup, trainer = loop.setup, loop.trainer
    if not when and trainer.world.size == 1:
        return
    if trainer.world.is_first and when:
        save(setup.folder / CHECKPOINTS, trainer, setup.identity, asdict(loop.best))
        loop.saved.saved(trainer.iteration)
    trainer.world.wait()


@contextmanager
def _keeping(loop: _Loop) -> Iterator[None]:
    """Save the last finished iteration where the block fails and has not saved it.

    Raises:
        RunFailedError: Memory ran out; with the settings that need less.
    """
    try:
        yield
    except Exception as error:
        _save_finished(loop)
        if isinstance(error, HarnessError) or not lacks_memory(error):
            raise
        raise _out_of_memory(loop, error) from error


def _save_finished(loop: _Loop) -> None:
    """Save the last finished iteration after a failure in the next one, where that is safe.

    After each iteration all processes have the same weights, so that the first one saves without
    the others, which may have ended, or wait for one that has. It cannot where it is itself what
    waits. Nothing is saved of a step that was begun.
    """
    trainer, iteration = loop.trainer, loop.trainer.iteration
    if not trainer.world.is_first or iteration == 0 or loop.saved.is_saved(iteration):
        return
    try:
        if not trainer.forget_iteration():
            return
        save(loop.setup.folder / CHECKPOINTS, trainer, loop.setup.identity, asdict(loop.best))
    except Exception as error:  # of a device that is lost, or of the disk; the first one counts
        loop.progress.notice(f"iteration {iteration} could not be saved: {reason_of(error)}")
        return
    loop.saved.saved(iteration)
    loop.progress.notice(f"the checkpoint of iteration {iteration} is kept")


def _out_of_memory(loop: _Loop, error: Exception) -> RunFailedError:
    """Return the error for a device whose memory ran out, with the settings that need less."""
    trainer, parts = loop.trainer, loop.setup.config.optimizer.accumulate
    size = trainer.schedule.batch_size // trainer.world.size // parts
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    return RunFailedError(
        f"out of memory on {trainer.device} in iteration {trainer.iteration + 1} with "
        f"{counted(size, 'image')} at once: {said}",
        hint=_smaller(size, parts, continued=bool(checkpoints(loop.setup.folder / CHECKPOINTS))),
    )


def _smaller(size: int, parts: int, *, continued: bool) -> str:
    """Return which settings need less memory.

    Args:
        size: Images that a process computes at once.
        parts: Parts of its batch.
        continued: Whether there is a checkpoint to continue from.
    """
    if size == 1:
        return "one image takes more: begin again with a smaller --short-edge, or --precision bf16"
    divisor = next(one for one in range(2, size + 1) if size % one == 0)
    smaller = f"--accumulate {divisor * parts} computes the same batch in smaller parts"
    if continued:
        smaller += ", and a training may be continued with it"
    return f"{smaller}; or begin again with a lower --batch-size, or --precision bf16"


@contextmanager
def _first_process_log(
    setup: Setup, trainer: Trainer, best: Best, progress: Progress
) -> Iterator[TrainingLog | None]:
    """Yield the log, which warns where losses leave the reference; None in other processes."""
    if not trainer.world.is_first:
        yield None
        return
    watch = Watch(setup.reference, setup.schedule.iterations)

    def compare(line: Mapping[str, Any]) -> None:
        if isinstance(progress, Curves):
            progress.curve(line)
        for sentence in watch.look(line):
            progress.notice(f"warning: {sentence}")

    with TrainingLog(setup.folder, trainer.iteration, best.evaluated, compare) as log:
        for line in log.earlier:
            watch.look(line)  # its warnings about them were given when they were new
        yield log
