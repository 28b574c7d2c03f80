"""The training loop: iterations, checkpoints, evaluations, and a checkpoint on a signal."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from harness.core.errors import Interrupted, RunFailedError
from harness.core.progress import Advance, Progress
from harness.files.environment import peak_process_bytes
from harness.measure.band import Watch
from harness.training.augmentation import Augmentation, augmentation_for
from harness.training.best import Best, goodness
from harness.training.checkpoints import CHECKPOINTS, resume, save, write_weights
from harness.training.log import TrainingLog
from harness.training.order import Draw, batches
from harness.training.processes import World
from harness.training.samples import Sample, sample_batches
from harness.training.setup import Setup, build_trainer
from harness.training.step import Trainer, measure_losses, run_iteration
from harness.training.stopping import Stop

WEIGHTS_LAST = "model_last.safetensors"
WEIGHTS_BEST = "model_best.safetensors"

#: Validation images whose losses are measured at an evaluation: a curve, not a verdict.
VALIDATION_IMAGES = 200

#: Evaluates weights of an iteration; returns numbers by name (``bbox/AP`` …).
Evaluate = Callable[[Path, int], dict[str, float]]


def run_training(
    setup: Setup, device: torch.device, world: World, *, progress: Progress, evaluate: Evaluate
) -> Best:
    """Train to the end of the schedule; weights, checkpoints and logs are in the run folder.

    Returns:
        The best evaluation.

    Raises:
        Interrupted: After a checkpoint, on one of STOP_SIGNALS or Ctrl-C.
        RunFailedError: A loss is not finite, or memory ran out.
    """
    trainer, initial = build_trainer(setup, device, world)
    best = Best()
    if setup.config.resume:
        notice = progress.notice if world.is_first else _silent
        facts = resume(setup.folder / CHECKPOINTS, trainer, setup.identity, notice=notice)
        _require_one_iteration(trainer)
        best = Best(**facts)
    if world.is_first:
        sentence = f"continuing at iteration {trainer.iteration}"
        progress.notice(sentence if setup.config.resume else initial.sentence)
    stop = Stop(setup.warnings)
    with stop.listening(), _first_process_log(setup, trainer, best, progress) as log:
        try:
            _iterate(setup, trainer, best, stop, log, progress, evaluate)
        except torch.OutOfMemoryError as error:
            raise _out_of_memory(setup, trainer, error) from error
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


def _iterate(
    setup: Setup,
    trainer: Trainer,
    best: Best,
    stop: Stop,
    log: TrainingLog | None,
    progress: Progress,
    evaluate: Evaluate,
) -> None:
    last = trainer.schedule.iterations
    done = trainer.iteration
    with (
        closing(training_batches(setup, trainer, trainer.world)) as samples,
        progress.task("train", total=last, done=done, unit="it") as tick,
    ):
        while True:
            if _evaluation_is_due(setup, trainer.iteration) and best.evaluated < trainer.iteration:
                _save(setup, trainer, best)
                with stop.leaving_at_once(f"the evaluation of iteration {trainer.iteration}"):
                    _evaluate(setup, trainer, best, log, progress, evaluate)
                best.evaluated = trainer.iteration
                _save(setup, trainer, best)
            if trainer.iteration == last:
                break
            begun = time.perf_counter()
            batch = next(samples)
            loaded = time.perf_counter()
            logged = run_iteration(trainer, batch)
            logged["time"] = torch.tensor(time.perf_counter() - begun)
            logged["data_time"] = torch.tensor(loaded - begun)
            saving, stopping = _book(trainer, logged, stop, log, tick)
            if stopping or saving or trainer.iteration % trainer.schedule.checkpoint_period == 0:
                _save(setup, trainer, best)
            if stopping:
                raise Interrupted(
                    f"stopped by {stop.name} after iteration {trainer.iteration}, checkpoint kept"
                )


def training_batches(
    setup: Setup, trainer: Trainer, world: World
) -> Generator[list[Sample], None, None]:
    """Yield the samples of every batch that one process trains on.

    Args:
        setup: Of the training.
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
    )


def _book(
    trainer: Trainer,
    logged: dict[str, torch.Tensor],
    stop: Stop,
    log: TrainingLog | None,
    tick: Advance,
) -> tuple[bool, bool]:
    """Log one iteration, averaged over processes; return whether any has to save, and to stop."""
    names = sorted(logged)
    vector = torch.stack([logged[name].double() for name in names])
    vector = torch.cat([vector, stop.flags()])
    *values, saving, stopping = trainer.world.mean(vector).tolist()
    line = dict(zip(names, values, strict=True))
    line["lr"] = trainer.schedule.rate_at(trainer.iteration - 1)
    if log is not None:
        ending = trainer.iteration == trainer.schedule.iterations
        written = log.add(trainer.iteration, line, last=ending)
        if written is not None:
            memory = peak_memory_bytes(trainer.device) / 2**30
            tick(0, f"loss {written['total_loss']:.3f}  lr {line['lr']:.2g}  {memory:.1f} GiB")
    tick(1)
    return saving > 0, stopping > 0


def peak_memory_bytes(device: torch.device) -> int:
    """Return the peak memory: on a GPU that of torch, otherwise that of this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return peak_process_bytes()


def _evaluation_is_due(setup: Setup, iteration: int) -> bool:
    """Return whether an evaluation follows ``iteration``; one always follows the last."""
    if iteration == setup.schedule.iterations:
        return True
    return setup.config.eval_every > 0 and iteration % setup.config.eval_every == 0


def _evaluate(
    setup: Setup,
    trainer: Trainer,
    best: Best,
    log: TrainingLog | None,
    progress: Progress,
    evaluate: Evaluate,
) -> None:
    """Losses and AP on the validation data by the first process; the others wait."""
    if trainer.world.is_first and log is not None:
        write_weights(setup.folder / WEIGHTS_LAST, trainer)
        numbers = _validation_losses(setup, trainer)
        scores = evaluate(setup.folder / WEIGHTS_LAST, trainer.iteration)
        log.write(trainer.iteration, {**numbers, **scores})
        shown = ", ".join(f"{name} {scores[name]:.2f}" for name in scores if name.endswith("/AP"))
        loss = numbers.get("validation/total_loss")
        told = "" if loss is None else f", validation loss {loss:.3f}"
        progress.notice(f"iteration {trainer.iteration}: {shown}{told}")
        value = goodness(setup.config.best_by, numbers, scores)
        if value > best.value:
            best.value, best.iteration = value, trainer.iteration
            write_weights(setup.folder / WEIGHTS_BEST, trainer)
    trainer.world.wait()


def _validation_losses(setup: Setup, trainer: Trainer) -> dict[str, float]:
    """Return the mean losses of some validation images, without augmentation."""
    images = setup.validation.images[:VALIDATION_IMAGES]
    still = Augmentation(
        short_edges_px=(setup.architecture.short_edge_px,),
        long_edge_max_px=setup.architecture.long_edge_max_px,
        flip_probability=0.0,
    )
    samples = sample_batches(
        images,
        setup.validation.dataset.images_dir,
        still,
        setup.architecture,
        ([Draw(index, index)] for index in range(len(images))),
        seed=setup.config.schedule.seed,
        loaders=setup.config.runtime.loaders,
    )
    with closing(samples):
        losses = measure_losses(trainer, samples)
    return {f"validation/{name}": value for name, value in losses.items()}


def _save(setup: Setup, trainer: Trainer, best: Best) -> None:
    """Write a checkpoint in the first process; the others wait for it."""
    if trainer.world.is_first:
        save(setup.folder / CHECKPOINTS, trainer, setup.identity, asdict(best))
    trainer.world.wait()


def _out_of_memory(setup: Setup, trainer: Trainer, error: Exception) -> RunFailedError:
    """Return the error for a device whose memory ran out, with the settings that need less."""
    parts = setup.config.optimizer.accumulate
    size = trainer.schedule.batch_size // trainer.world.size // parts
    return RunFailedError(
        f"out of memory on {trainer.device} in iteration {trainer.iteration + 1} with {size} "
        f"image(s) at once: {str(error).splitlines()[0]}",
        hint=f"--accumulate {2 * parts} computes the same batch in smaller parts; or "
        "lower --batch-size, or --precision bf16",
    )


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
        for sentence in watch.look(line):
            progress.notice(f"warning: {sentence}")

    with TrainingLog(setup.folder, trainer.iteration, best.evaluated, compare) as log:
        for line in log.earlier:
            watch.look(line)  # its warnings about them were given when they were new
        yield log
