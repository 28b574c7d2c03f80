"""From annotated images to augmented training samples, decoded ahead in threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from harness.core.architecture import Architecture
from harness.data.images import load_image, resize
from harness.data.objects import AnnotatedImage
from harness.data.proposals import moved_proposals
from harness.training.augmentation import Augmentation, Change, draw_change, with_effects
from harness.training.masks import ObjectMasks, transformed
from harness.training.order import Draw

#: Batches decoded ahead of the one in training.
BATCHES_AHEAD = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One augmented image with its objects, in px of the resized image."""

    image_id: int
    """Of the annotation file."""

    ordinal: int
    """Place of its draw in the sequence of the run."""

    pixels: npt.NDArray[np.uint8]
    """(h, w, 3) uint8 in the network's channel order."""

    canvas: tuple[int, int]
    """(height, width) that holds every image of the whole batch, so that its parts are padded
    alike.
    """

    boxes: npt.NDArray[np.float32]
    """(g, 4) float32 x1, y1, x2, y2."""

    classes: npt.NDArray[np.int64]
    """(g,) int64 class index."""

    masks: ObjectMasks | None
    """One an object; None for a network without masks."""

    keypoints: npt.NDArray[np.float32] | None = None
    """(g, K, 3) float32 x, y, visibility; None for a network without keypoints."""

    semantic: npt.NDArray[np.uint8] | None = None
    """(h, w) uint8 class of each pixel; None for a network without a semantic head."""

    proposals: npt.NDArray[np.float32] | None = None
    """(n, 4) float32 regions, best first; None for a network that proposes its own."""


def make_sample(
    image: AnnotatedImage,
    images_dir: Path,
    architecture: Architecture,
    change: Change,
    *,
    canvas: tuple[int, int],
    ordinal: int,
) -> Sample:
    """Decode, augment, resize and flip an image, together with its objects.

    Args:
        image: With its objects.
        images_dir: Folder of the image files.
        architecture: Says the channel order, and whether there are masks.
        change: As drawn for this image.
        canvas: (height, width) of the batch, px.
        ordinal: Place of its draw in the sequence of the run.

    Raises:
        HarnessError: The image, or its PNG of segments, is missing or damaged.
    """
    height_px, width_px = change.size
    pixels = load_image(image.record, images_dir).pixels_bgr
    pixels = with_effects(pixels[:, :, ::-1], change.effects)
    if architecture.channel_order == "BGR":
        pixels = pixels[:, :, ::-1]
    pixels = resize(np.ascontiguousarray(pixels), height_px, width_px)
    if change.flip:
        pixels = pixels[:, ::-1]
    if change.flip_down:
        pixels = pixels[::-1]
    scale = (width_px / image.record.width_px, height_px / image.record.height_px)
    masks = None
    if image.segmentations is not None and architecture.has_masks:
        masks = transformed(image.segmentations, change.size, scale, change.flip, change.flip_down)
    return Sample(
        image_id=image.record.image_id,
        ordinal=ordinal,
        pixels=np.ascontiguousarray(pixels),
        canvas=canvas,
        boxes=_moved_boxes(image.boxes_xyxy_px, change, scale),
        classes=image.class_index,
        masks=masks,
        keypoints=_moved_keypoints(image, change, scale) if architecture.keypoint_count else None,
        semantic=_moved_semantic(image, change) if architecture.is_panoptic else None,
        proposals=_moved_proposals(image, change, architecture),
    )


def _moved_proposals(
    image: AnnotatedImage, change: Change, architecture: Architecture
) -> npt.NDArray[np.float32] | None:
    """Return the regions in the frame of the resized image (Detectron2 ``transform_proposals``)."""
    if image.proposals is None or not architecture.given_proposals:
        return None
    return moved_proposals(
        image.proposals,
        (image.record.height_px, image.record.width_px),
        change.size,
        most=architecture.rpn_post_nms_training,
        flip=change.flip,
        flip_down=change.flip_down,
    )


def _moved_semantic(image: AnnotatedImage, change: Change) -> npt.NDArray[np.uint8] | None:
    """Return (h, w) classes of pixels in the frame of the resized one, each that of the nearest."""
    if image.semantic is None:
        return None
    height_px, width_px = change.size
    classes = image.semantic.read((image.record.height_px, image.record.width_px))
    nearest = PillowImage.Resampling.NEAREST
    moved = np.array(PillowImage.fromarray(classes).resize((width_px, height_px), nearest))
    moved = moved[:, ::-1] if change.flip else moved
    return np.ascontiguousarray(moved[::-1] if change.flip_down else moved)


def _moved_keypoints(
    image: AnnotatedImage, change: Change, scale: tuple[float, float]
) -> npt.NDArray[np.float32] | None:
    """Return (g, K, 3) keypoints in the frame of the resized image; none labelled outside of it.

    A flip changes left with right (Detectron2 ``data/detection_utils.py``).
    """
    if image.keypoints is None:
        return None
    height_px, width_px = change.size
    moved = image.keypoints * [scale[0], scale[1], 1.0]
    if change.flip:
        moved[..., 0] = width_px - moved[..., 0]
    if change.flip_down:
        moved[..., 1] = height_px - moved[..., 1]
    inside = (moved[..., :2] >= 0) & (moved[..., :2] <= [width_px, height_px])
    moved[..., 2][~inside.all(axis=-1)] = 0
    if change.flip and image.mirrored is not None:
        moved = np.take_along_axis(moved, image.mirrored[:, :, None], axis=1)
    moved[moved[..., 2] == 0] = 0
    return moved.astype(np.float32)


def _moved_boxes(
    boxes: npt.NDArray[np.float64], change: Change, scale: tuple[float, float]
) -> npt.NDArray[np.float32]:
    """Return (g, 4) boxes in the frame of the resized image, clipped to it."""
    height_px, width_px = change.size
    moved = boxes * [scale[0], scale[1], scale[0], scale[1]]
    if change.flip:
        moved[:, [0, 2]] = width_px - moved[:, [2, 0]]
    if change.flip_down:
        moved[:, [1, 3]] = height_px - moved[:, [3, 1]]
    limits = np.array([width_px, height_px, width_px, height_px])
    return np.clip(moved, 0, limits).astype(np.float32)


def _made(
    keep: Callable[[Sample], Sample] | None,
    images_dir: Path,
    architecture: Architecture,
    image: AnnotatedImage,
    change: Change,
    **named: Any,
) -> Sample:
    sample = make_sample(image, images_dir, architecture, change, **named)
    return sample if keep is None else keep(sample)


def sample_batches(
    images: Sequence[AnnotatedImage],
    images_dir: Path,
    augmentation: Augmentation,
    architecture: Architecture,
    order: Iterator[list[Draw]],
    *,
    part: slice = slice(None),
    seed: int,
    loaders: int,
    keep: Callable[[Sample], Sample] | None = None,
) -> Generator[list[Sample], None, None]:
    """Yield the samples of each batch, made ahead by ``loaders`` threads.

    An error of one image is raised when its batch is due. Close the generator to end the threads.

    Args:
        order: The whole batches, of which ``part`` is made.
        keep: Returns a sample as it is kept until its batch is due; called in the threads.
    """
    make = partial(_made, keep, images_dir, architecture)

    def submit(draws: list[Draw]) -> list[Future[Sample]]:
        changes = [
            draw_change(images[one.image].record, augmentation, seed=seed, ordinal=one.ordinal)
            for one in draws
        ]
        heights, widths = zip(*(change.size for change in changes), strict=True)
        canvas = (max(heights), max(widths))
        return [
            pool.submit(make, images[draw.image], change, canvas=canvas, ordinal=draw.ordinal)
            for draw, change in list(zip(draws, changes, strict=True))[part]
        ]

    with ThreadPoolExecutor(loaders, thread_name_prefix="loader") as pool:
        ahead: deque[list[Future[Sample]]] = deque()
        try:
            for draws in order:
                ahead.append(submit(draws))
                if len(ahead) > BATCHES_AHEAD:
                    yield [future.result() for future in ahead.popleft()]
            while ahead:
                yield [future.result() for future in ahead.popleft()]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
