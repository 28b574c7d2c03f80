"""``harness train``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli import console
from harness.cli.eval import FAILED_VERDICT_EXIT_CODE, print_record
from harness.cli.options import add_answer_options, request_from
from harness.core.engine import PRECISIONS
from harness.core.requests.inference import EMBEDDED_MODEL
from harness.core.requests.training import AUGMENTS, BEST_BY, OPTIMISERS, TrainRequest

if TYPE_CHECKING:
    from harness.workflows.training.job import TrainingJob


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of TrainRequest."""
    run = add_training_options(parser)
    run.add_argument(
        "--gpus",
        "--nproc",
        dest="processes",
        type=int,
        default=1,
        metavar="N",
        help="processes, one device each",
    )
    run.add_argument("--dry-run", action="store_true", help="show the plan, measure one iteration")
    add_answer_options(parser)


def add_training_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """The options of TrainRequest that mean the same here and on a cluster."""
    what = parser.add_argument_group("what to train on what")
    what.add_argument("--model", default=EMBEDDED_MODEL, help="model entry; see: harness models")
    what.add_argument("--engine", choices=("native", "detectron2"), default="native")
    what.add_argument("--dataset", help="known data set; default: the one of the model's recipe")
    what.add_argument("--train-annotations", type=Path, help="COCO annotation file of your own")
    what.add_argument("--train-images", type=Path, help="folder of its images")
    what.add_argument("--val-annotations", type=Path, help="the same for validation")
    what.add_argument("--val-images", type=Path, help="folder of its images")
    what.add_argument(
        "--root", type=Path, help="where data sets and checkpoints lie (default: datasets)"
    )
    what.add_argument(
        "--init",
        default="imagenet",
        metavar="zoo|imagenet|none|FILE",
        help="weights to begin with: the model's checkpoint, its recipe's backbone, random, a file",
    )
    plan = parser.add_argument_group("schedule (what is not given follows from the recipe)")
    plan.add_argument("--schedule", choices=("1x", "3x"), help="another length of the zoo's")
    plan.add_argument("--iterations", type=int, metavar="N")
    plan.add_argument("--batch-size", type=int, help="images an iteration, all processes together")
    plan.add_argument("--lr", dest="learning_rate", type=float, metavar="RATE")
    plan.add_argument("--optimiser", choices=OPTIMISERS, default="sgd")
    plan.add_argument("--weight-decay", type=float, metavar="RATE", help="default: the optimiser's")
    plan.add_argument(
        "--augment",
        choices=AUGMENTS,
        default="flip",
        help="strong: both flips, brightness, contrast, and two of JPEG, gamma, blur, equalise",
    )
    plan.add_argument(
        "--short-edge", dest="short_edge_px", type=int, metavar="PX", help="size of the images"
    )
    plan.add_argument("--freeze", type=int, metavar="N", help="first stages that stay fixed")
    plan.add_argument("--rois-per-image", type=int, metavar="N", help="regions for the box head")
    plan.add_argument("--clip-gradients", type=float, metavar="NORM")
    plan.add_argument("--ema", type=float, metavar="DECAY", help="moving average of the weights")
    plan.add_argument("--seed", type=int, default=0)
    return _add_run_options(parser)


def _add_run_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    how = parser.add_argument_group("how to run it")
    how.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    how.add_argument("--precision", choices=PRECISIONS, default="fp32")
    how.add_argument("--accumulate", type=int, default=1, help="compute a batch in N parts")
    how.add_argument("--loaders", type=int, default=2, help="threads that decode and resize ahead")
    how.add_argument("--threads", type=int, help="CPU threads a process; default: its share")
    how.add_argument("--deterministic", action="store_true", help="slower, repeats exactly")
    run = parser.add_argument_group("the run")
    run.add_argument("--eval-every", type=int, default=0, metavar="N", help="iterations; 0: once")
    run.add_argument(
        "--best-by", choices=BEST_BY, default="ap", help="what the best weights have most, or least"
    )
    run.add_argument(
        "--reference-curve",
        type=Path,
        metavar="FILE",
        help="metrics.json of the zoo or of an earlier training: warn when losses or AP leave it",
    )
    run.add_argument("--output", type=Path, help="run folder; default: results/runs/<run id>")
    run.add_argument("--resume", action="store_true", help="continue an unfinished run")
    return run


def run(arguments: argparse.Namespace) -> int:
    """Show the plan, train, print the table and the verdict, answer the exit code."""
    from harness.files.layout import datasets_folder
    from harness.measure.timing import PhaseTimer
    from harness.workflows.runs.folder import utc_now
    from harness.workflows.training.job import resolve_training
    from harness.workflows.training.train import follow, train

    root = arguments.root or datasets_folder()
    job = resolve_training(request_from(TrainRequest, arguments, root=root))
    if arguments.dry_run:
        return _rehearse(job, arguments)
    if follow(job):
        return 0
    progress = console.TerminalProgress()
    for line in _plan_lines(job):
        progress.notice(line)
    record, folder = train(
        job,
        progress=console.TerminalProgress,
        command=("harness", *sys.argv[1:]),
        now=utc_now(),
        stopwatch=PhaseTimer(time.perf_counter, lambda: None),
    )
    if arguments.json:
        console.answer_json(record)
    else:
        print_record(record, arguments, folder)
    return FAILED_VERDICT_EXIT_CODE if record.verdict.outcome == "fail" else 0


def _rehearse(job: TrainingJob, arguments: argparse.Namespace) -> int:
    from harness.workflows.training.dry_run import rehearse

    rehearsal = rehearse(job)
    if arguments.json:
        console.answer_json(rehearsal)
        return 0
    console.answer(*_plan_lines(job))
    console.answer(
        f"measured: {rehearsal.s_per_iteration:.3f} s an iteration on {rehearsal.device}, "
        f"{rehearsal.memory_bytes / 2**30:.2f} GiB; the whole schedule takes about "
        f"{_duration(rehearsal.expected_s)}"
    )
    return 0


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def _plan_lines(job: TrainingJob) -> list[str]:
    schedule, published = job.plan.schedule, job.plan.published
    images = len(job.training.images)
    steps = ", ".join(f"{step:,}" for step in schedule.steps)
    return [
        f"{job.entry.name}: {schedule.iterations:,} iterations of {schedule.batch_size} images, "
        f"lr {schedule.learning_rate:g}, ×0.1 at {steps}, warm-up {schedule.warmup:,} "
        f"(published: {published.iterations:,} of {published.batch_size}, "
        f"lr {published.learning_rate:g})",
        f"{images:,} images with {sum(job.training.object_counts.values()):,} objects of "
        f"{len(job.training.object_counts)} categories, "
        f"{schedule.images_seen / images:.1f} epochs; a checkpoint every "
        f"{schedule.checkpoint_period:,} iterations",
        *(f"warning: {sentence}" for sentence in job.plan.warnings),
    ]
