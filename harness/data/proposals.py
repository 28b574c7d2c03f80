"""Region proposals that a network does not make itself but is given with each image."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.architecture import Architecture
from harness.core.detections import Image
from harness.core.errors import RunFailedError

Boxes = npt.NDArray[np.floating[Any]]


def resized_proposals(
    image: Image, resized_px: tuple[int, int], architecture: Architecture
) -> npt.NDArray[np.float32] | None:
    """The proposals of an image in the frame of the resized one, the empty ones left out.

    Every bit is that of Detectron2's ``transform_proposals``: scaled in the precision they are
    given in, clipped in float32.

    Args:
        image: With its proposals.
        resized_px: (height, width) of the resized image.
        architecture: Says whether it is given any, and how many it takes.

    Returns:
        (n, 4), best first; None for a network that proposes its own.

    Raises:
        RunFailedError: It has to be given proposals, and the image has none.
    """
    if not architecture.given_proposals:
        return None
    size = (image.height_px, image.width_px)
    return moved_proposals(proposals_of(image), size, resized_px, most=architecture.rpn_post_nms)


def moved_proposals(
    boxes: Boxes,
    size_px: tuple[int, int],
    resized_px: tuple[int, int],
    *,
    most: int,
    flip: bool = False,
    flip_down: bool = False,
) -> npt.NDArray[np.float32]:
    """Proposals in the frame of a resized and perhaps flipped image, without the empty ones.

    Args:
        boxes: (n, 4) x1, y1, x2, y2 in px of the image, best first.
        size_px: (height, width) of the image.
        resized_px: The same of the resized one.
        most: How many are kept.
        flip: Whether left and right are swapped.
        flip_down: Whether top and bottom are swapped.

    Returns:
        (m, 4) float32, best first; each is scaled in the precision it is given in.
    """
    height, width = resized_px
    across = boxes[:, 0::2] * (width * 1.0 / size_px[1])
    down = boxes[:, 1::2] * (height * 1.0 / size_px[0])
    across = width - across if flip else across
    down = height - down if flip_down else down
    moved = np.stack((across.min(1), down.min(1), across.max(1), down.max(1)), axis=1)
    moved = moved.astype(np.float32)
    moved[:, 0::2] = moved[:, 0::2].clip(0, width)
    moved[:, 1::2] = moved[:, 1::2].clip(0, height)
    kept = (moved[:, 2] > moved[:, 0]) & (moved[:, 3] > moved[:, 1])
    return np.ascontiguousarray(moved[kept][:most])


def proposals_of(image: Image) -> Boxes:
    """The proposals that came with an image.

    Returns:
        (n, 4) x1, y1, x2, y2 in px of the image, best first.

    Raises:
        RunFailedError: None came with it.
    """
    if image.proposals_xyxy_px is None:
        raise RunFailedError(
            f"image {image.image_id} came without region proposals, and this network makes none",
            hint="they come from a file: --proposals",
        )
    return image.proposals_xyxy_px


def generated_proposals(image: Image, count: int = 1000) -> Boxes:
    """Boxes all over an image, by which arithmetic can be proven where no file has any.

    The same on every machine; sides are spread evenly on a logarithmic scale.

    Args:
        image: Its id and size are what they depend on.
        count: Number of boxes.

    Returns:
        (count, 4) float32 x1, y1, x2, y2 in px of the image; some leave it, and some are empty
        after that.
    """
    random = np.random.Generator(np.random.PCG64(image.image_id))
    sizes = np.array([image.width_px, image.height_px])
    centres = random.uniform(-0.02, 1.02, (count, 2)) * sizes
    halves = sizes * np.exp(random.uniform(np.log(0.01), np.log(0.6), (count, 2)))
    return np.concatenate((centres - halves, centres + halves), axis=1).astype(np.float32)
