"""The embedded data set: seeded scenes of textured shapes in COCO format, made on first use.

Scenes have the difficulties of COCO on a small scale: occlusion, sizes from a dozen pixels to half
the image, textured clutter, crowd regions, images without objects. A category is a shape; colour
and texture carry no information. Pixels come from NumPy's PCG64 and pycocotools' rasteriser and are
stored as PNG, so every machine makes the same ones.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from harness.core.run_lengths import decode
from harness.files.atomic import remove_leftovers, temporary_path
from harness.files.failures import disk_errors
from harness.files.json import dumps
from harness.measure.masks import encode_region, rle_of

Points = npt.NDArray[np.float64]

#: COCO-like category ids (with gaps, as COCO has) and names.
SHAPES = {
    1: "circle",
    2: "square",
    4: "triangle",
    5: "star",
    7: "ring",
    8: "cross",
    10: "capsule",
    11: "crescent",
}


def outlines(name: str) -> list[Points]:
    """Closed polygons (n, 2) with |x|, |y| ≤ 1; a second one is a hole in the first.

    Args:
        name: Name of a category.

    Raises:
        ValueError: There is no such shape.
    """
    match name:
        case "circle":
            return [_arc(0, 360, 40)]
        case "square":
            return [np.array([[-0.85, -0.85], [0.85, -0.85], [0.85, 0.85], [-0.85, 0.85]])]
        case "triangle":
            return [_arc(-90, 270, 4)[:3]]
        case "star":
            radii = np.where(np.arange(10) % 2 == 0, 1.0, 0.42)[:, None]
            return [_arc(-90, 270, 11)[:10] * radii]
        case "ring":
            return [_arc(0, 360, 40), _arc(0, 360, 40) * 0.5]
        case "cross":
            return [_cross(0.32)]
        case "capsule":
            right, left = _arc(-90, 90, 14) * 0.4, _arc(90, 270, 14) * 0.4
            return [np.concatenate((right + [0.6, 0.0], left - [0.6, 0.0]))]
        case "crescent":
            # Outer circle of radius 1, inner one of radius 0.8 shifted by 0.5: they meet at ±64.5°.
            outer, inner = _arc(62, 298, 30), _arc(252.5, 107.5, 24) * 0.8 + [0.5, 0.0]
            return [np.concatenate((outer, inner))]
        case _:
            raise ValueError(f"no such shape: {name}")


def _arc(start_deg: float, end_deg: float, count: int) -> Points:
    """``count`` points of the unit circle from start to end, both included."""
    angles = np.radians(np.linspace(start_deg, end_deg, count))
    return np.stack((np.cos(angles), np.sin(angles)), axis=1)


def _cross(half_width: float) -> Points:
    w = half_width
    return np.array(
        [[-w, -1], [w, -1], [w, -w], [1, -w], [1, w], [w, w]]
        + [[w, 1], [-w, 1], [-w, w], [-1, w], [-1, -w], [-w, -w]]
    )


Mask = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.float64]

#: Part of the folder's name: a change of the scenes is another data set.
VERSION = "v1"

#: Seed and number of images of each split.
SPLITS = {"synthetic_train": (1, 2000), "synthetic_val": (2, 64)}

#: (height, width) of scenes, px.
SCENE_SIZES = ((240, 320), (320, 240), (256, 352), (288, 288))

#: Objects painted in a scene (from, below) and their radius (from, to): about five objects stay
#: visible, of which about 40 % are small and 10 % large in COCO's sense, as in COCO itself.
OBJECT_COUNT = (3, 9)
RADIUS_PX = (10, 96)

#: An object of which less is visible is not annotated.
MIN_VISIBLE_SHARE = 0.25
MIN_VISIBLE_PX = 24

#: Every n-th image has no object; every m-th has a crowd.
EMPTY_EVERY = 16
CROWD_EVERY = 12


def generate(split: str, root: Path) -> Path:
    """The folder of a split, with ``annotations.json`` and ``images/``; made where it is not there.

    Made whole beside its place and renamed into it, so that several processes may do it at once.

    Args:
        split: Its name.
        root: Folder of data sets.
    """
    folder = root / "synthetic" / VERSION / split
    if folder.is_dir():
        return folder
    seed, count = SPLITS[split]
    draft = temporary_path(folder.with_name(f"{split}.{uuid4().hex}"))
    remove_leftovers(folder.parent)
    with disk_errors(folder):
        try:
            (draft / "images").mkdir(parents=True)
            _write(draft, seed, count)
            draft.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            # Another process was faster; its files are the same.
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return folder


def _write(folder: Path, seed: int, count: int) -> None:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id in range(1, count + 1):
        # One stream an image: a longer split begins with the same scenes.
        random = np.random.Generator(np.random.PCG64([seed, image_id]))
        pixels, objects = scene(random, image_id)
        file_name = f"{image_id:06d}.png"
        PillowImage.fromarray(pixels).save(folder / "images" / file_name, compress_level=1)
        height, width = pixels.shape[:2]
        images.append({"id": image_id, "file_name": file_name, "height": height, "width": width})
        for found in objects:
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, **found})
    content = {
        "info": {"description": f"synthetic scenes {VERSION}, seed {seed}"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": key, "name": name} for key, name in SHAPES.items()],
    }
    (folder / "annotations.json").write_text(dumps(content), encoding="utf-8")


def scene(
    random: np.random.Generator, image_id: int
) -> tuple[npt.NDArray[np.uint8], list[dict[str, Any]]]:
    """One image and its annotations, without ids.

    Args:
        random: Decides everything in it.
        image_id: Id of the image, for the annotations.

    Returns:
        (H, W, 3) uint8 RGB, and COCO annotations.
    """
    height, width = SCENE_SIZES[random.integers(len(SCENE_SIZES))]
    pixels = _background(random, height, width)
    placed: list[dict[str, Any]] = []
    if image_id % EMPTY_EVERY:
        if image_id % CROWD_EVERY == 0:
            placed.append(_crowd(random, pixels))
        for _ in range(random.integers(*OBJECT_COUNT)):
            radius_px = float(np.exp(random.uniform(*np.log(RADIUS_PX))))
            placed.append(_paint_shape(random, pixels, radius_px))
    pixels += random.normal(0.0, 4.0, pixels.shape)
    picture = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return picture, _visible(placed)


def _background(random: np.random.Generator, height: int, width: int) -> Pixels:
    """A smooth colour field with bars of clutter."""
    coarse = random.uniform(30, 225, (4, 5, 3))
    pixels = np.stack(
        [_stretched(coarse[:, :, channel], height, width) for channel in range(3)], axis=-1
    )
    for _ in range(random.integers(3, 12)):
        top, left = random.integers(height), random.integers(width)
        long, short = random.integers(15, 90), random.integers(1, 4)
        tall, wide = (long, short) if random.random() < 0.5 else (short, long)
        pixels[top : top + tall, left : left + wide] = random.uniform(0, 255, 3)
    return pixels


def _stretched(grid: Pixels, height: int, width: int) -> Pixels:
    """A coarse grid bilinearly stretched to height × width."""
    rows, columns = grid.shape
    y = np.linspace(0, rows - 1, height)
    x = np.linspace(0, columns - 1, width)
    across = np.stack([np.interp(x, np.arange(columns), row) for row in grid])
    return np.stack([np.interp(y, np.arange(rows), across[:, i]) for i in range(width)], axis=1)


def _paint_shape(
    random: np.random.Generator,
    pixels: Pixels,
    radius_px: float,
    *,
    name: str | None = None,
    centre: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """One shape painted over ``pixels``; its category, mask and outline."""
    height, width = pixels.shape[:2]
    category_id = int(random.choice(list(SHAPES)))
    if name is not None:
        category_id = next(key for key, value in SHAPES.items() if value == name)
    x, y = random.uniform(0.1, 0.9) * width, random.uniform(0.1, 0.9) * height
    if centre is not None:
        x, y = centre
    angle, stretch = random.uniform(0, 2 * np.pi), random.uniform(0.75, 1.0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    polygons = [
        np.round((points * [1.0, stretch]) @ turn.T * radius_px + [x, y], 2)
        for points in outlines(SHAPES[category_id])
    ]
    mask = _rasterised(polygons[0], height, width)
    for hole in polygons[1:]:
        mask &= ~_rasterised(hole, height, width)
    pixels[mask] = _texture(random, mask)
    return {"category_id": category_id, "mask": mask, "polygons": polygons, "crowd": False}


def _crowd(random: np.random.Generator, pixels: Pixels) -> dict[str, Any]:
    """A cluster of small shapes of one category, annotated as one crowd region."""
    height, width = pixels.shape[:2]
    name = str(random.choice(list(SHAPES.values())))
    x, y = random.uniform(0.25, 0.75) * width, random.uniform(0.25, 0.75) * height
    members = [
        _paint_shape(
            random,
            pixels,
            random.uniform(6, 11),
            name=name,
            centre=(x + random.normal(0, 22), y + random.normal(0, 22)),
        )
        for _ in range(14)
    ]
    mask = np.logical_or.reduce([member["mask"] for member in members])
    return {"category_id": members[0]["category_id"], "mask": mask, "polygons": [], "crowd": True}


def _texture(random: np.random.Generator, mask: Mask) -> Pixels:
    """(n, 3) colours of the n pixels of ``mask``: two colours in stripes, checks or a gradient."""
    first, second = random.uniform(0, 255, (2, 3))
    height, width = mask.shape
    y, x = np.nonzero(mask)
    period = random.uniform(5, 16)
    weight: npt.NDArray[np.floating[Any]] = np.zeros(len(x))
    match random.integers(4):
        case 1:
            weight = ((x * random.uniform(-1, 1) + y) // period) % 2
        case 2:
            weight = ((x // period) + (y // period)) % 2
        case 3:
            weight = (x / width + y / height) / 2
    colours: Pixels = first + (second - first) * 0.6 * weight[:, None]
    return colours


def _visible(placed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Annotations of what later shapes left visible."""
    annotations = []
    covered: Mask | None = None
    for one in reversed(placed):
        mask = one["mask"] if covered is None else one["mask"] & ~covered
        covered = one["mask"] if covered is None else covered | one["mask"]
        share = mask.sum() / max(one["mask"].sum(), 1)
        if mask.sum() < MIN_VISIBLE_PX or share < MIN_VISIBLE_SHARE:
            continue
        whole = share == 1.0 and len(one["polygons"]) == 1
        annotations.append(
            {
                "category_id": one["category_id"],
                "bbox": _box(mask),
                "area": int(mask.sum()),
                "iscrowd": int(one["crowd"]),
                "segmentation": [one["polygons"][0].ravel().tolist()] if whole else _runs(mask),
            }
        )
    return annotations[::-1]


def _rasterised(polygon: npt.NDArray[np.float64], height: int, width: int) -> Mask:
    return decode(rle_of([polygon.ravel().tolist()], height, width))


def _runs(mask: Mask) -> dict[str, Any]:
    height, width = mask.shape
    rle = encode_region(mask, top_px=0, left_px=0, height_px=height, width_px=width)
    return {"size": [height, width], "counts": rle.counts}


def _box(mask: Mask) -> list[int]:
    """x, y, width, height of the tight box, px."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    return [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1]
