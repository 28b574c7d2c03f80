"""Training by Detectron2 itself: its trainer, loader, augmentation and losses, on the same plan.

For comparison with the native loop. Checkpoints and ``metrics.json`` are Detectron2's own; the
weights are also written in the run's format, so that everything after the training is the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from harness.core.errors import Interrupted, RunFailedError, UsageError
from harness.core.progress import Progress
from harness.core.run_files import CHECKPOINTS
from harness.data.shapes import flip_order
from harness.engines.detectron2 import require_detectron2
from harness.engines.detectron2_model import build_model, config_of
from harness.engines.devices import apply_precision, apply_threads, find_device
from harness.files.failures import lacks_memory, reason_of
from harness.training.augmentation import augmentation_for
from harness.training.checkpoints import require_same
from harness.training.plan import MOMENTUM, STEP_FACTOR, WARMUP_FACTOR, weight_decay_of
from harness.training.run import Evaluate
from harness.training.setup import Setup, first_native_weights
from harness.training.weight_files import WEIGHTS_BEST, WEIGHTS_LAST
from harness.zoo.weights import write_checkpoint

#: Name of the training data in Detectron2's catalogue.
REGISTERED = "harness_train"


def train_with_detectron2(setup: Setup, *, progress: Progress, evaluate: Evaluate) -> None:
    """Run the whole training in this process; weights and logs are written to the run folder.

    A signal interrupts it at once; it continues from its last checkpoint. Where memory runs out,
    the last finished iteration is saved.

    Args:
        setup: Setup of the training.
        progress: Shows iterations and receives notices.
        evaluate: Evaluates the last weights.

    Raises:
        PrerequisiteError: Detectron2 is not installed.
        UsageError: A setting that Detectron2's trainer does not have.
        RunFailedError: A loss is not finite, or memory ran out.
        Interrupted: The user stopped it.
    """
    require_detectron2("detectron2.engine", "detectron2.data.datasets")
    _require_offered(setup)
    device = find_device(setup.config.runtime.device)
    apply_precision(setup.config.runtime.precision, device)
    apply_threads(setup.config.runtime.threads)
    _register(setup)
    trainer = _trainer(setup, device)
    last = setup.schedule.iterations
    if trainer.start_iter == 0:
        _write_weights(setup.folder / WEIGHTS_LAST, trainer.model, setup)
        evaluate.before(setup.folder / WEIGHTS_LAST, progress.notice)
    with progress.task("train", total=last, done=trainer.start_iter, unit="it") as tick:
        trainer.register_hooks([_ticking(tick)])
        _train(trainer, device, progress.notice)
    _write_weights(setup.folder / WEIGHTS_LAST, trainer.model, setup)
    scores = evaluate(setup.folder / WEIGHTS_LAST, last, progress.notice)
    _write_weights(setup.folder / WEIGHTS_BEST, trainer.model, setup)
    progress.notice(", ".join(f"{name} {scores[name]:.2f}" for name in scores if "/AP" in name[:8]))


def _train(trainer: Any, device: torch.device, notice: Callable[[str], None]) -> None:
    """Run the iterations; see ``train_with_detectron2``."""
    watching = _watched(trainer)
    try:
        with _reported_once():
            trainer.train()
    except FloatingPointError as error:
        raise RunFailedError(
            f"Detectron2 stopped in iteration {trainer.iter + 1}: {error}",
            hint="lower --lr, or look at the annotations: harness data check",
        ) from error
    except KeyboardInterrupt:
        raise Interrupted(f"stopped in iteration {trainer.iter + 1}") from None
    except Exception as error:
        number = trainer.iter + 1
        if watching.whole:
            _save_finished(trainer, notice)
        if not lacks_memory(error):
            raise
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RunFailedError(
            f"out of memory on {device} in iteration {number} of Detectron2's trainer: {said}",
            hint="begin again with a lower --batch-size; --engine native has --accumulate, which "
            "computes the same batch in smaller parts",
        ) from error


@contextmanager
def _reported_once() -> Iterator[None]:
    """Let Detectron2 print no traceback of an error of the block, which is reported after it."""

    def without_traceback(record: logging.LogRecord) -> bool:
        return record.exc_info is None

    logger = logging.getLogger("detectron2.engine.train_loop")
    logger.addFilter(without_traceback)
    try:
        yield
    finally:
        logger.removeFilter(without_traceback)


def _watched(trainer: Any) -> Any:
    """Register what knows whether a trainer has the state after its last iteration.

    Returns:
        Its ``whole`` is true before a step of the optimizer only.
    """
    from detectron2.engine import HookBase

    class Watching(HookBase):  # type: ignore[misc]
        """Knows where in an iteration the trainer is."""

        whole = False

        def before_step(self) -> None:
            """Nothing of the iteration has been done."""
            self.whole = True

        def after_step(self) -> None:
            """Its weights are those of this iteration, and the hooks that follow change more."""
            self.whole = False

    watching = Watching()
    trainer.register_hooks([watching])
    trainer._hooks.insert(0, trainer._hooks.pop())  # before those that may fail
    trainer._trainer.optimizer.register_step_pre_hook(lambda *_: watching.after_step())
    return watching


def _save_finished(trainer: Any, notice: Callable[[str], None]) -> None:
    """Save the last finished iteration of a trainer whose next one failed.

    Nothing is saved where no iteration is new, and where BatchNorm learns: the failed forward pass
    has changed its statistics.
    """
    finished = trainer.iter - 1
    learning = (
        isinstance(one, torch.nn.modules.batchnorm._BatchNorm) and one.training
        for one in trainer.model.modules()
    )
    if finished < trainer.start_iter or any(learning):
        return
    try:
        # What Detectron2 saves as its iteration, and continues after.
        trainer.iter = trainer._trainer.iter = finished
        trainer.checkpointer.save(f"model_{finished:07d}", iteration=finished)
    except Exception as error:  # of a device that is lost, or of the disk; the first one counts
        notice(f"iteration {finished + 1} could not be saved: {reason_of(error)}")
    else:
        notice(f"the checkpoint of iteration {finished + 1} is kept")


def _require_offered(setup: Setup) -> None:
    """Check that Detectron2's trainer has all settings in use.

    Raises:
        UsageError: It lacks some.
    """
    config, optimizer = setup.config, setup.config.optimizer
    missing = {
        "--accumulate": optimizer.accumulate != 1,
        "--clip-gradients": optimizer.clip_gradients is not None,
        "--ema": optimizer.ema is not None,
        "--eval-every": config.eval_every != 0,
        "--optimiser adamw": optimizer.optimiser != "sgd",
        "--augment strong": config.augmentation.augment != "flip",
        "--best-by loss": config.best_by != "ap",
        "--precision bf16": config.runtime.precision == "bf16",
    }
    asked = [option for option, used in missing.items() if used]
    if asked:
        raise UsageError(
            f"the detectron2 engine trains without {', '.join(asked)}",
            hint="leave it out, or use --engine native",
        )


def _register(setup: Setup) -> None:
    """Register the training data under a name, for Detectron2's COCO loader."""
    from detectron2.data import DatasetCatalog, MetadataCatalog
    from detectron2.data.datasets import register_coco_instances

    if REGISTERED in DatasetCatalog.list():
        DatasetCatalog.remove(REGISTERED)
        MetadataCatalog.remove(REGISTERED)
    dataset = setup.training.dataset
    metadata = _keypoint_metadata(setup) if setup.architecture.keypoint_count else {}
    register_coco_instances(
        REGISTERED, metadata, str(dataset.annotations_path), str(dataset.images_dir)
    )


def _keypoint_metadata(setup: Setup) -> dict[str, Any]:
    """Return names of the keypoints, and which change places when left and right do."""
    names = _keypoint_names(setup)
    pairs = [
        (names[place], names[other])
        for place, other in enumerate(flip_order(names))
        if place < other
    ]
    return {"keypoint_names": list(names), "keypoint_flip_map": pairs}


def _keypoint_names(setup: Setup) -> tuple[str, ...]:
    """Return the names of the categories that have labelled keypoints: Detectron2 takes one list.

    Raises:
        UsageError: They change places in different ways when left and right do.
    """
    categories = setup.training.dataset.categories
    labelled = {
        int(index)
        for image in setup.training.images
        if image.keypoints is not None
        for index in image.class_index[(image.keypoints[..., 2] > 0).any(axis=1)]
    }
    named = [categories[index] for index in sorted(labelled)]
    if len({flip_order(one.keypoints) for one in named}) > 1:
        raise UsageError(
            "the detectron2 engine flips the keypoints of all categories alike, and those of "
            f"{', '.join(one.name for one in named)} change places differently",
            hint="give them the same names, or use --engine native",
        )
    return named[0].keypoints


def _trainer(setup: Setup, device: torch.device) -> Any:
    from detectron2.engine import DefaultTrainer

    class Trainer(DefaultTrainer):  # type: ignore[misc]
        """Detectron2's default trainer, on the network of ``harness.engines``."""

        @classmethod
        def build_model(cls, cfg: Any) -> Any:
            """Return the network with the weights the training begins with."""
            del cfg
            model = build_model(setup.architecture, device, training=_training_keys(setup)).train()
            model.load_state_dict(first_native_weights(setup)[0].state_dict())
            return model

    (setup.folder / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    trainer = Trainer(_config(setup, device))
    # First, so that nothing of another training is restored before it is refused.
    known = {"harness": _Identity(setup), **trainer.checkpointer.checkpointables}
    trainer.checkpointer.checkpointables = known
    trainer.resume_or_load(resume=setup.config.resume)
    return trainer


class _Identity:
    """What must be equal in a training that continues, as a part of Detectron2's checkpoints."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup

    def state_dict(self) -> dict[str, Any]:
        """The identity of this training."""
        return self._setup.identity

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Compare the identity that a checkpoint was saved with.

        Raises:
            AnotherRunError: It is that of another training.
        """
        require_same(state, self._setup.identity, self._setup.folder, lambda _: None)


def _training_keys(setup: Setup) -> dict[str, Any]:
    """Return what training adds to the network's configuration."""
    return {
        "MODEL.BACKBONE.FREEZE_AT": setup.config.initial.freeze or 0,
        "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": setup.numbers.rois_per_image,
        "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 2 * setup.architecture.rpn_pre_nms_per_level,
        "MODEL.RPN.POST_NMS_TOPK_TRAIN": setup.architecture.rpn_post_nms_training,
    }


def _config(setup: Setup, device: torch.device) -> Any:
    cfg = config_of(setup.architecture, device)
    schedule, augmentation = setup.schedule, augmentation_for(setup.architecture)
    values: dict[str, Any] = {
        **_training_keys(setup),
        "DATASETS.TRAIN": (REGISTERED,),
        "DATASETS.TEST": (),
        "DATALOADER.NUM_WORKERS": setup.config.runtime.loaders,
        "INPUT.MIN_SIZE_TRAIN": augmentation.short_edges_px,
        "INPUT.MAX_SIZE_TRAIN": augmentation.long_edge_max_px,
        "INPUT.MASK_FORMAT": _mask_format(setup),
        "SOLVER.IMS_PER_BATCH": schedule.batch_size,
        "SOLVER.BASE_LR": schedule.learning_rate,
        "SOLVER.MAX_ITER": schedule.iterations,
        "SOLVER.STEPS": schedule.steps,
        "SOLVER.GAMMA": STEP_FACTOR,
        "SOLVER.MOMENTUM": MOMENTUM,
        "SOLVER.WEIGHT_DECAY": weight_decay_of(setup.config.optimizer),
        "SOLVER.WARMUP_ITERS": schedule.warmup,
        "SOLVER.WARMUP_FACTOR": WARMUP_FACTOR,
        "SOLVER.CHECKPOINT_PERIOD": schedule.checkpoint_period,
        "SOLVER.AMP.ENABLED": setup.config.runtime.precision == "fp16",
        "OUTPUT_DIR": str(setup.folder),
        "SEED": setup.config.schedule.seed,
    }
    for key, value in values.items():
        cfg.merge_from_list([key, value])
    return cfg


def _mask_format(setup: Setup) -> str:
    """Return polygons, as in COCO's own training, or bitmaps where a mask is run lengths."""
    return "bitmask" if setup.training.has_run_lengths else "polygon"


def _ticking(tick: Any) -> Any:
    from detectron2.engine import HookBase

    class Ticking(HookBase):  # type: ignore[misc]
        """Advances the progress bar."""

        def after_step(self) -> None:
            """Count one finished iteration, with its loss."""
            loss = self.trainer.storage.latest().get("total_loss", (float("nan"), 0))[0]
            tick(1, f"loss {loss:.3f}")

    return Ticking()


def _write_weights(path: Path, model: torch.nn.Module, setup: Setup) -> None:
    write_checkpoint(
        path,
        {key: value.detach().cpu().float().numpy() for key, value in model.state_dict().items()},
        setup.statement.text,
    )
