"""One iteration on the real device, for its time and memory: with real data or generated ones."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image as PillowImage

from harness.core.architecture import Architecture
from harness.core.dataset import Category, Dataset, ImageRecord
from harness.core.detections import Image
from harness.core.progress import Advance, Progress
from harness.core.settings import replaced
from harness.data.objects import AnnotatedImage, Segmentation, TrainingSet
from harness.data.panoptic import png_of
from harness.data.proposals import generated_proposals
from harness.data.semantic import SemanticTruth
from harness.engines.devices import device_class
from harness.files.environment import forget_peak_process_bytes
from harness.training.group import prepared_device
from harness.training.processes import World
from harness.training.run import peak_memory_bytes, training_batches
from harness.training.samples import Sample
from harness.training.setup import Setup, build_trainer
from harness.training.step import Trainer, run_iteration

#: Images that a CPU computes at once when an iteration is measured. Where memory ends, the system
#: ends the process, and not torch, as on a GPU.
MOST_AT_ONCE = 2

#: Images of a process's share that are decoded where only some of them are computed. They decide
#: how large the others are padded, which more of them would hardly change.
MOST_DECODED = 64


class Measured(NamedTuple):
    """Time and memory of one iteration."""

    seconds: float
    """Of the iteration."""

    memory_bytes: int
    """Peak of the device; of the process on a CPU."""

    device_class: str
    """The device's product name."""

    at_once: int
    """Images that are computed at once."""

    image_bytes: int | None = None
    """Memory that each of them takes, where time and memory are those of one and two images,
    carried on to the whole batch; None where the batch itself was measured.
    """


class _Iteration(NamedTuple):
    """One iteration as it was measured."""

    seconds: float
    """It took."""

    memory_bytes: int
    """Peak of the device; of the process on a CPU."""

    input_bytes: int
    """What the network reads of one image: padded, in float32. It takes no less."""


def measure_iteration(
    setup: Setup,
    processes: int,
    *,
    clock: Callable[[], float],
    progress: Progress,
    warmed: bool = True,
) -> Measured:
    """Measure the second iteration of one process's share of the batch; the first one warms up.

    Communication between processes is not included. On a CPU no more than MOST_AT_ONCE images are
    computed at once; what a larger batch takes follows from them.

    Args:
        setup: Setup of the training; nothing is written to its folder.
        processes: Number of processes the batch is split over.
        clock: Returns seconds.
        progress: Where progress goes: on a CPU an iteration takes minutes.
        warmed: Whether an iteration comes before; only time needs it.

    Raises:
        RunFailedError: A loss is not finite.
    """
    share = World(0, processes)
    device = prepared_device(setup, share)
    parts = setup.config.optimizer.accumulate
    at_once = setup.schedule.batch_size // processes // parts
    is_estimated = device.type == "cpu" and at_once > MOST_AT_ONCE
    # The rate is of a batch, and fewer images might diverge with it.
    setup = replace(setup, schedule=replace(setup.schedule, learning_rate=0.0))
    setup = _of_few(setup, processes) if is_estimated else setup
    trainer, _ = build_trainer(setup, device, World())
    passes = 2 if warmed else 1
    total = passes * (1 + is_estimated)
    with (
        progress.task("measure an iteration", total=total, unit="it") as advance,
        closing(training_batches(setup, trainer, share)) as samples,
    ):
        second = partial(_measured, trainer, samples, passes, clock=clock, advance=advance)
        if not is_estimated:
            whole = second(None)
            return Measured(whole.seconds, whole.memory_bytes, device_class(device), at_once)
        one, most = second(1), second(MOST_AT_ONCE)
    each = _bytes_each(one, most)
    seconds = most.seconds / MOST_AT_ONCE * at_once * parts
    memory_bytes = one.memory_bytes + each * (at_once - 1)
    return Measured(seconds, memory_bytes, device_class(device), at_once, each)


def _bytes_each(one: _Iteration, most: _Iteration) -> int:
    """Return what an image takes, of iterations of one and of MOST_AT_ONCE.

    Of a small network the difference of two peaks is mostly chance, and can be below zero.
    """
    return max((most.memory_bytes - one.memory_bytes) // (MOST_AT_ONCE - 1), most.input_bytes)


def _of_few(setup: Setup, processes: int) -> Setup:
    """A setup whose batch is one part, and has no more images than are worth decoding."""
    decoded = min(setup.schedule.batch_size, MOST_DECODED * processes)
    return replace(
        setup,
        schedule=replace(setup.schedule, batch_size=decoded),
        config=replaced(setup.config, accumulate=1),
    )


def _measured(
    trainer: Trainer,
    samples: Iterator[list[Sample]],
    passes: int,
    count: int | None,
    *,
    clock: Callable[[], float],
    advance: Advance,
) -> _Iteration:
    """Return what the last of some iterations of ``count`` images took."""
    for _ in range(passes):
        batch = next(samples)[:count]
        forget_peak_process_bytes()
        begun = clock()
        float(run_iteration(trainer, batch)["total_loss"])  # waits for the device
        seconds = clock() - begun
        advance(1)
    height, width = batch[0].canvas
    return _Iteration(seconds, peak_memory_bytes(trainer.device), 3 * 4 * height * width)


#: Of COCO: the usual size of an image, (height, width) px, and objects an image (860,001 in 118,287
#: images of train2017).
SIZE_PX, OBJECTS = (480, 640), 7

#: Sides of the segments of a generated map.
SQUARE_PX = 80

#: Images that are generated; a batch repeats them.
IMAGES = 4


def stand_in_data(folder: Path, architecture: Architecture) -> TrainingSet:
    """Write a few images of noise, and return them with what a network learns.

    Args:
        folder: Where they are written.
        architecture: Architecture of the network.
    """
    random = np.random.default_rng(0)
    images = tuple(_generated(folder, number, random, architecture) for number in range(IMAGES))
    categories = tuple(
        Category(category_id=one, name=f"class {one}") for one in range(architecture.class_count)
    )
    dataset = Dataset(
        name="generated",
        annotations_path=folder / "none.json",
        images_dir=folder,
        images=tuple(one.record for one in images),
        categories=categories,
        annotation_count=IMAGES * OBJECTS,
        crowd_count=0,
        has_masks=architecture.has_masks,
        keypoint_count=architecture.keypoint_count,
        digest="",
    )
    return TrainingSet(
        dataset=dataset,
        images=images,
        object_counts={one.category_id: 0 for one in categories},
        left_out=(),
        has_run_lengths=False,
    )


def _generated(
    folder: Path, number: int, random: np.random.Generator, architecture: Architecture
) -> AnnotatedImage:
    """Write one image, and return it with what a network learns of it."""
    height, width = SIZE_PX
    record = ImageRecord(
        image_id=number, file_name=f"{number}.jpg", height_px=height, width_px=width
    )
    coarse = random.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
    PillowImage.fromarray(coarse).resize((width, height)).save(folder / record.file_name)
    image = _annotated(record, random, architecture.class_count, architecture.has_masks)
    if architecture.given_proposals:
        pixels = np.empty((height, width, 3), dtype=np.uint8)
        whole = Image(image_id=number, pixels_bgr=pixels)
        image = replace(image, proposals=generated_proposals(whole, count=2000))
    if architecture.is_panoptic:
        classes = architecture.semantic_classes
        image = replace(image, semantic=_semantics(folder, number, random, classes))
    count = architecture.keypoint_count
    return _with_keypoints(image, random, count) if count else image


def _semantics(folder: Path, number: int, random: np.random.Generator, count: int) -> SemanticTruth:
    """Write a PNG of square segments, and return where the classes of its pixels come from."""
    height, width = (side // SQUARE_PX for side in SIZE_PX)
    ids = np.arange(1, 1 + height * width, dtype=np.int32)
    squares = np.kron(ids.reshape(height, width), np.ones((SQUARE_PX, SQUARE_PX), dtype=np.int32))
    path = folder / f"{number}.png"
    path.write_bytes(png_of(squares))
    classes = random.integers(0, count, len(ids)).astype(np.uint8)
    return SemanticTruth(path=path, segments=ids, classes=classes, repair="")


def _with_keypoints(
    image: AnnotatedImage, random: np.random.Generator, count: int
) -> AnnotatedImage:
    """Return the image with visible keypoints anywhere in the box of each object."""
    boxes = image.boxes_xyxy_px[:, None]
    places = boxes[..., :2] + random.random((len(boxes), count, 2)) * (
        boxes[..., 2:] - boxes[..., :2]
    )
    points = np.concatenate((places, np.full((*places.shape[:2], 1), 2.0)), axis=2)
    mirrored = np.tile(np.arange(count), (len(boxes), 1))
    return replace(image, keypoints=points, mirrored=mirrored)


def _annotated(
    record: ImageRecord, random: np.random.Generator, class_count: int, with_masks: bool
) -> AnnotatedImage:
    """Return the image with OBJECTS diamonds of several sizes."""
    size = np.array([record.width_px, record.height_px])
    edges = random.uniform(0.05, 0.4, (OBJECTS, 2)) * size
    corners = random.random((OBJECTS, 2)) * (size - edges)
    boxes = np.concatenate([corners, corners + edges], axis=1)
    outlines: tuple[Segmentation, ...] = tuple([array("d", _diamond(box))] for box in boxes)
    return AnnotatedImage(
        record=record,
        boxes_xyxy_px=boxes,
        class_index=random.integers(0, class_count, OBJECTS),
        segmentations=outlines if with_masks else None,
    )


def _diamond(box: np.ndarray) -> list[float]:
    """Return x, y, x, y, … of the middles of a box's edges."""
    left, top, right, bottom = (float(value) for value in box)
    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
    return [middle_x, top, right, middle_y, middle_x, bottom, left, middle_y]
