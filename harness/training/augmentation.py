"""How a training image is changed: drawn from the seed and its place in the run, then applied.

Everything random is drawn by ``draw_change``; applying a change is a pure function of the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageFilter, ImageOps

from harness.core.architecture import Architecture
from harness.core.dataset import ImageRecord
from harness.core.requests.training import Augment
from harness.data.images import resize_shape
from harness.training.order import AUGMENT, generator

Pixels = npt.NDArray[np.uint8]

#: Ranges of the strong augmentation: those of albumentations' RandomBrightnessContrast in
#: apprenant92/Instance-Segmentation, and of its RandomGamma and Blur by default.
BRIGHTNESS = 0.3  # of full scale, added
CONTRAST = 0.2  # of one, multiplied
GAMMA = (0.8, 1.2)
BLUR_RADIUS_PX = (1, 3)  # windows of 3, 5 or 7 px

#: JPEG quality. Chosen: albumentations' default of 99 … 100 would hardly change a pixel.
JPEG_QUALITY = (50, 100)

#: How often one of the last four is applied.
EFFECTS_AN_IMAGE = 2

EffectName = Literal["brightness", "contrast", "jpeg", "gamma", "blur", "equalise"]
ONE_OF: tuple[EffectName, ...] = ("jpeg", "gamma", "blur", "equalise")


class Effect(NamedTuple):
    """One change of pixel values that moves nothing."""

    name: EffectName
    """Which change."""

    strength: float
    """In the unit of its range above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """The range of changes. Defaults: Detectron2's for COCO (Base-RCNN-FPN.yaml)."""

    short_edges_px: tuple[int, ...] = (640, 672, 704, 736, 768, 800)
    """Short edges of the resized image; one is drawn for each image (INPUT.MIN_SIZE_TRAIN)."""

    long_edge_max_px: int = 1333
    """The long edge of the resized image is at most this (INPUT.MAX_SIZE_TRAIN)."""

    flip_probability: float = 0.5
    """Of a horizontal flip (INPUT.RANDOM_FLIP)."""

    flip_down_probability: float = 0.0
    """Of a vertical flip."""

    effects: bool = False
    """Whether brightness, contrast and more are changed too."""


class Change(NamedTuple):
    """What was drawn for one image."""

    size: tuple[int, int]
    """(height, width) of the resized image, px."""

    flip: bool
    """Whether left and right are swapped."""

    flip_down: bool = False
    """Whether top and bottom are swapped."""

    effects: tuple[Effect, ...] = ()
    """Changes of pixel values, applied in order before the resize."""


def augmentation_for(architecture: Architecture, augment: Augment = "flip") -> Augmentation:
    """Return the augmentation of an architecture.

    Args:
        architecture: Its test size scales the zoo's short edges: 640 to 800 px for a test size of
            800 px, 0.8 to 1.0 of it for any other.
        augment: ``strong`` adds vertical flips and changes of pixel values.
    """
    steps = (640, 672, 704, 736, 768, 800)
    strong = augment == "strong"
    return Augmentation(
        short_edges_px=tuple(round(step * architecture.short_edge_px / 800) for step in steps),
        long_edge_max_px=architecture.long_edge_max_px,
        flip_down_probability=0.5 if strong else 0.0,
        effects=strong,
    )


def draw_change(
    record: ImageRecord, augmentation: Augmentation, *, seed: int, ordinal: int
) -> Change:
    """Draw the change of one image; it depends on nothing but the arguments.

    Args:
        record: The image.
        augmentation: The range of changes.
        seed: Seed of the training.
        ordinal: Place of the image in the sequence of the run, from 0.
    """
    random = generator(seed, AUGMENT, ordinal)
    size = resize_shape(
        record.height_px,
        record.width_px,
        int(random.choice(augmentation.short_edges_px)),
        augmentation.long_edge_max_px,
    )
    return Change(
        size,
        flip=bool(random.random() < augmentation.flip_probability),
        flip_down=bool(random.random() < augmentation.flip_down_probability),
        effects=draw_effects(random) if augmentation.effects else (),
    )


def draw_effects(random: np.random.Generator) -> tuple[Effect, ...]:
    """Draw changes of pixel values.

    Args:
        random: Source of random numbers; it is advanced.

    Returns:
        With probability 0.5 contrast and brightness, then EFFECTS_AN_IMAGE of ONE_OF.
    """
    found: list[Effect] = []
    if random.random() < 0.5:
        found.append(Effect("contrast", 1 + float(random.uniform(-CONTRAST, CONTRAST))))
        found.append(Effect("brightness", float(random.uniform(-BRIGHTNESS, BRIGHTNESS))))
    for _ in range(EFFECTS_AN_IMAGE):
        match ONE_OF[random.integers(len(ONE_OF))]:
            case "jpeg":
                found.append(Effect("jpeg", int(random.integers(*JPEG_QUALITY, endpoint=True))))
            case "gamma":
                found.append(Effect("gamma", float(random.uniform(*GAMMA))))
            case "blur":
                found.append(Effect("blur", int(random.integers(*BLUR_RADIUS_PX, endpoint=True))))
            case _:
                found.append(Effect("equalise", 1.0))
    return tuple(found)


def with_effects(pixels_rgb: Pixels, effects: tuple[Effect, ...]) -> Pixels:
    """Apply changes of pixel values.

    Args:
        pixels_rgb: (h, w, 3) uint8 in RGB order.
        effects: Applied in order.

    Returns:
        As ``pixels_rgb``; the same array when there is no effect.
    """
    if not effects:
        return pixels_rgb
    image = PillowImage.fromarray(np.ascontiguousarray(pixels_rgb))
    for name, strength in effects:
        image = _changed(image, name, strength)
    return np.array(image)


def _changed(image: PillowImage.Image, name: EffectName, strength: float) -> PillowImage.Image:
    """Apply one effect. Brightness, contrast and gamma are curves of 256 values."""
    levels = np.arange(256, dtype=np.float64)
    match name:
        case "brightness":
            return _by_curve(image, levels + 255 * strength)
        case "contrast":
            return _by_curve(image, levels * strength)
        case "gamma":
            return _by_curve(image, 255 * (levels / 255) ** strength)
        case "blur":
            return image.filter(ImageFilter.BoxBlur(strength))
        case "equalise":
            return ImageOps.equalize(image)
        case "jpeg":
            file = BytesIO()
            image.save(file, format="JPEG", quality=round(strength))
            return PillowImage.open(file, formats=("JPEG",)).convert("RGB")


def _by_curve(image: PillowImage.Image, curve: npt.NDArray[np.float64]) -> PillowImage.Image:
    """Map each value of each channel by ``curve``, (256,), rounded and clipped to 0 to 255."""
    table = np.clip(np.rint(curve), 0, 255).astype(np.uint8).tolist()
    return image.point(table * 3)
