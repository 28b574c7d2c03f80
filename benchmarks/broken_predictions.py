"""Known faults, put into good predictions: what ``harness diagnose`` has to find again.

Each function takes annotations, predictions and a random generator, and returns both with one fault
in them. ``FAULTS`` has them by the name of the hypothesis in ``harness.diagnosis.catalogue`` that
they make true; a hypothesis may have several, told apart by a number behind ``#``.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.core.run_lengths import Rle, decode
from harness.measure.masks import encode_region

Row = dict[str, Any]
Content = dict[str, Any]
Broken = tuple[Content, list[Row]]
Break = Callable[[Content, list[Row], np.random.Generator], Broken]
Box = Sequence[float]


#: Height and width that an image has which is not in the set.
UNKNOWN_SIZE = (480, 640)


def of_boxes(change: Callable[[Box, float, float], Sequence[float]]) -> Break:
    """A fault of every box, given with the height and width of its image."""

    def broken(content: Content, rows: list[Row], _: np.random.Generator) -> Broken:
        sizes = {one["id"]: (one["height"], one["width"]) for one in content["images"]}
        changed = [
            {
                **row,
                "bbox": [
                    float(side)
                    for side in change(row["bbox"], *sizes.get(row["image_id"], UNKNOWN_SIZE))
                ],
            }
            for row in rows
        ]
        return content, changed

    return broken


def of_categories(change: Callable[[int, Sequence[int], Sequence[int]], int]) -> Break:
    """A fault of every category, given with the ids by number and by name."""

    def broken(content: Content, rows: list[Row], _: np.random.Generator) -> Broken:
        names = {one["id"]: one["name"].casefold() for one in content["categories"]}
        by_name = sorted(sorted(names), key=lambda one: names[one])
        changed = [
            {**row, "category_id": change(row["category_id"], sorted(names), by_name)}
            for row in rows
        ]
        return content, changed

    return broken


def of_rows(change: Callable[[Row], Row]) -> Break:
    """A fault of every row by itself."""
    return lambda content, rows, _: (content, [change(row) for row in rows])


def chosen_rows(keep: Callable[[Row], bool]) -> Break:
    """Rows that are not there."""
    return lambda content, rows, _: (content, [row for row in rows if keep(row)])


def image_ids(content: Content) -> list[int]:
    """The ids of all images, ascending."""
    return sorted(image["id"] for image in content["images"])


def other_order(content: Content, rows: list[Row], random: np.random.Generator) -> Broken:
    """Categories in an order that nothing tells."""
    ids = sorted(one["id"] for one in content["categories"])
    other = dict(zip(ids, random.permutation(ids).tolist(), strict=True))
    return content, [{**row, "category_id": other[row["category_id"]]} for row in rows]


def letterboxed(edge: float) -> Callable[[Box, float, float], Sequence[float]]:
    """In a square with padding on both sides."""

    def change(box: Box, height: float, width: float) -> Sequence[float]:
        scale = edge / max(height, width)
        left, top = (edge - width * scale) / 2, (edge - height * scale) / 2
        return [box[0] * scale + left, box[1] * scale + top, box[2] * scale, box[3] * scale]

    return change


def padded_to_strides(edge: float) -> Callable[[Box, float, float], Sequence[float]]:
    """In the least rectangle of multiples of 32 px around the resized image."""

    def change(box: Box, height: float, width: float) -> Sequence[float]:
        scale = edge / max(height, width)
        left, top = (-round(width * scale)) % 32 / 2, (-round(height * scale)) % 32 / 2
        return [box[0] * scale + left, box[1] * scale + top, box[2] * scale, box[3] * scale]

    return change


def stretched(wide: float, tall: float) -> Callable[[Box, float, float], Sequence[float]]:
    """In an image that was stretched to a size."""
    return lambda box, height, width: [
        box[0] * wide / width,
        box[1] * tall / height,
        box[2] * wide / width,
        box[3] * tall / height,
    ]


def short_edge(short: float, most: float) -> Callable[[Box, float, float], Sequence[float]]:
    """In an image that was resized as Detectron2 does."""

    def change(box: Box, height: float, width: float) -> Sequence[float]:
        scale = min(short / min(height, width), most / max(height, width))
        return [side * scale for side in box]

    return change


def unturned(box: Box, _: float, width: float) -> Sequence[float]:
    """In an image that is displayed after a quarter turn clockwise."""
    return [box[1], width - box[0] - box[2], box[3], box[2]]


def unturned_back(box: Box, height: float, _: float) -> Sequence[float]:
    """In an image that is displayed after a quarter turn the other way."""
    return [height - box[1] - box[3], box[0], box[3], box[2]]


def unturned_half(box: Box, height: float, width: float) -> Sequence[float]:
    """In an image that is displayed upside down."""
    return [width - box[0] - box[2], height - box[1] - box[3], box[2], box[3]]


def some_unturned(change: Callable[[Box, float, float], Sequence[float]]) -> Break:
    """The boxes of one image in seven as before EXIF turned it."""

    def broken(content: Content, rows: list[Row], random: np.random.Generator) -> Broken:
        ids = image_ids(content)
        some = set(random.choice(ids, max(2, len(ids) // 7), replace=False).tolist())
        _, turned = of_boxes(change)(content, rows, random)
        pairs = zip(rows, turned, strict=True)
        return content, [other if one["image_id"] in some else one for one, other in pairs]

    return broken


def with_unknown(content: Content, rows: list[Row], random: np.random.Generator) -> Broken:
    """Rows of images that are not in the set."""
    ids = image_ids(content)
    some = set(random.choice(ids, len(ids) // 10, replace=False).tolist())
    more = [{**row, "image_id": 10**7 + row["image_id"]} for row in rows if row["image_id"] in some]
    return content, rows + more


def some_silent(content: Content, rows: list[Row], random: np.random.Generator) -> Broken:
    """One image in eight without any row."""
    ids = sorted({row["image_id"] for row in rows})
    some = set(random.choice(ids, max(3, len(ids) // 8), replace=False).tolist())
    return content, [row for row in rows if row["image_id"] not in some]


def some_twice(content: Content, rows: list[Row], random: np.random.Generator) -> Broken:
    """A few images twice."""
    ids = sorted({row["image_id"] for row in rows})
    some = set(random.choice(ids, max(3, len(ids) // 50), replace=False).tolist())
    return content, rows + [dict(row) for row in rows if row["image_id"] in some]


def one_share(processes: int) -> Break:
    """Every n-th image alone."""

    def broken(content: Content, rows: list[Row], random: np.random.Generator) -> Broken:
        kept = set(image_ids(content)[int(random.integers(processes)) :: processes])
        return content, [row for row in rows if row["image_id"] in kept]

    return broken


def one_block(content: Content, rows: list[Row], _: np.random.Generator) -> Broken:
    """The first quarter of the images alone."""
    ids = image_ids(content)
    kept = set(ids[: len(ids) // 4])
    return content, [row for row in rows if row["image_id"] in kept]


def too_many(content: Content, rows: list[Row], random: np.random.Generator) -> Broken:
    """150 more rows an image, of lower scores."""
    sizes = {one["id"]: (one["height"], one["width"]) for one in content["images"]}
    categories = [one["id"] for one in content["categories"]]
    least = min(row["score"] for row in rows)
    more = []
    for image in sorted({row["image_id"] for row in rows}):
        height, width = sizes.get(image, UNKNOWN_SIZE)
        for _ in range(150):
            tall, wide = random.uniform(5, height / 2), random.uniform(5, width / 2)
            left, top = random.uniform(0, width - wide), random.uniform(0, height - tall)
            more.append(
                {
                    "image_id": image,
                    "category_id": int(random.choice(categories)),
                    "bbox": [float(one) for one in (left, top, wide, tall)],
                    "score": float(least * random.uniform(0.05, 1)),
                }
            )
    return content, rows + more


def unsuppressed(content: Content, rows: list[Row], random: np.random.Generator) -> Broken:
    """Three near copies of each row."""
    result = []
    for row in rows:
        result.append(row)
        x, y, width, height = row["bbox"]
        for _ in range(3):
            shift, grow = random.normal(0, 0.03, 2), np.exp(random.normal(0, 0.03, 2))
            box = [x + width * shift[0], y + height * shift[1], width * grow[0], height * grow[1]]
            score = row["score"] * random.uniform(0.9, 0.999)
            result.append({**row, "bbox": [float(one) for one in box], "score": float(score)})
    return content, result


def suppressed(most: float, *, across: bool) -> Break:
    """What overlaps a better box by more than ``most`` left out."""

    def broken(content: Content, rows: list[Row], _: np.random.Generator) -> Broken:
        cells: dict[Any, list[Row]] = defaultdict(list)
        for row in rows:
            cells[row["image_id"], None if across else row["category_id"]].append(row)
        result: list[Row] = []
        for cell in cells.values():
            kept: list[Row] = []
            for row in sorted(cell, key=lambda one: -one["score"]):
                if all(iou(row["bbox"], one["bbox"]) <= most for one in kept):
                    kept.append(row)
            result += kept
        return content, result

    return broken


def iou(one: Box, other: Box) -> float:
    """Of two boxes."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / (one[2] * one[3] + other[2] * other[3] - both)


def without_crowds(content: Content, rows: list[Row], _: np.random.Generator) -> Broken:
    """Every crowd as an object."""
    annotations = [{**one, "iscrowd": 0} for one in content["annotations"]]
    return {**content, "annotations": annotations}, rows


def positions(first: int) -> Break:
    """Images by their position."""

    def broken(content: Content, rows: list[Row], _: np.random.Generator) -> Broken:
        place = {one: number for number, one in enumerate(image_ids(content), start=first)}
        return content, [
            {**row, "image_id": place.get(row["image_id"], 10**8 + row["image_id"])} for row in rows
        ]

    return broken


def renumbered(content: Content, rows: list[Row], random: np.random.Generator) -> Broken:
    """An annotation file that numbers its images in an order of its own."""
    ids = image_ids(content)
    new = {one: number for number, one in enumerate(random.permutation(ids).tolist(), start=1)}
    images = [{**one, "id": new[one["id"]]} for one in content["images"]]
    annotations = [{**one, "image_id": new[one["image_id"]]} for one in content["annotations"]]
    return {**content, "images": images, "annotations": annotations}, rows


def a_subset(content: Content, rows: list[Row], random: np.random.Generator) -> Broken:
    """An annotation file of two thirds of the images."""
    ids = image_ids(content)
    return of_images(content, random.choice(ids, len(ids) * 2 // 3, replace=False).tolist()), rows


def other_set(content: Content, rows: list[Row], _: np.random.Generator) -> Broken:
    """An annotation file of other images, but for a few."""
    ids = image_ids(content)
    kept = ids[: len(ids) // 2]
    few = set(kept[::9])
    return of_images(content, kept), [
        row for row in rows if row["image_id"] not in kept or row["image_id"] in few
    ]


def of_images(content: Content, ids: Sequence[int]) -> Content:
    """An annotation file of some images."""
    kept = set(ids)
    images = [one for one in content["images"] if one["id"] in kept]
    annotations = [one for one in content["annotations"] if one["image_id"] in kept]
    return {**content, "images": images, "annotations": annotations}


Pixels = np.ndarray[Any, Any]


def of_masks(change: Callable[[Pixels], Pixels]) -> Break:
    """A fault of the pixels of every mask."""

    def broken(content: Content, rows: list[Row], _: np.random.Generator) -> Broken:
        return content, [with_pixels(row, change) for row in rows]

    return broken


def of_some_masks(change: Callable[[Pixels], Pixels]) -> Break:
    """A fault of the pixels of the masks of one image in seven."""

    def broken(content: Content, rows: list[Row], random: np.random.Generator) -> Broken:
        ids = image_ids(content)
        some = set(random.choice(ids, max(4, len(ids) // 7), replace=False).tolist())
        return content, [
            with_pixels(row, change) if row["image_id"] in some else row for row in rows
        ]

    return broken


def with_pixels(row: Row, change: Callable[[Pixels], Pixels]) -> Row:
    """A prediction with other pixels in its mask."""
    (height, width), counts = row["segmentation"]["size"], row["segmentation"]["counts"]
    pixels = change(decode(Rle(height, width, counts)))
    height, width = pixels.shape
    mask = encode_region(pixels, top_px=0, left_px=0, height_px=height, width_px=width)
    return {**row, "segmentation": {"size": [height, width], "counts": mask.counts}}


def drawn(change: Callable[[Box, float, float], Sequence[float]]) -> Callable[[Pixels], Pixels]:
    """What is in a mask drawn in another frame, in a mask of the same size.

    Args:
        change: Takes a box of the image, with its height and width, to that frame.
    """

    def redrawn(pixels: Pixels) -> Pixels:
        height, width = pixels.shape
        left, top, wide, tall = change([0.0, 0.0, 1.0, 1.0], height, width)
        rows = np.floor((np.arange(height) + 0.5 - top) / tall).astype(int)
        columns = np.floor((np.arange(width) + 0.5 - left) / wide).astype(int)
        inside = np.ix_((rows >= 0) & (rows < height), (columns >= 0) & (columns < width))
        known = np.ix_(
            rows[(rows >= 0) & (rows < height)], columns[(columns >= 0) & (columns < width)]
        )
        result = np.zeros_like(pixels)
        result[inside] = pixels[known]
        return result

    return redrawn


def half_size(pixels: Pixels) -> Pixels:
    """Every other pixel of each side."""
    return pixels[::2, ::2]


def row_by_row(pixels: Pixels) -> Pixels:
    """Pixels along the rows, taken for pixels down the columns."""
    read: Pixels = pixels.reshape(-1).reshape(pixels.shape, order="F")
    return read


def column_by_column(pixels: Pixels) -> Pixels:
    """Pixels down the columns, taken for pixels along the rows."""
    read: Pixels = pixels.reshape(-1, order="F").reshape(pixels.shape)
    return read


def moved(down: int, right: int) -> Callable[[Pixels], Pixels]:
    """Moved by some pixels; what leaves the image is gone."""

    def change(pixels: Pixels) -> Pixels:
        height, width = pixels.shape
        result = np.zeros_like(pixels)
        to = (
            slice(max(down, 0), height + min(down, 0)),
            slice(max(right, 0), width + min(right, 0)),
        )
        of = (
            slice(max(-down, 0), height + min(-down, 0)),
            slice(max(-right, 0), width + min(-right, 0)),
        )
        result[to] = pixels[of]
        return result

    return change


#: Faults of boxes, categories, rows, scores and annotations, by hypothesis.
FAULTS: Mapping[str, Break] = {
    "image-positions": positions(0),
    "image-positions#1": positions(1),
    "image-file-numbers": renumbered,
    "other-annotations": other_set,
    "unknown-images": with_unknown,
    "unknown-images#1": a_subset,
    "xyxy": of_boxes(lambda b, *_: [b[0], b[1], b[0] + b[2], b[1] + b[3]]),
    "yxyx": of_boxes(lambda b, *_: [b[1], b[0], b[1] + b[3], b[0] + b[2]]),
    "centre": of_boxes(lambda b, *_: [b[0] + b[2] / 2, b[1] + b[3] / 2, b[2], b[3]]),
    "swapped-axes": of_boxes(lambda b, *_: [b[1], b[0], b[3], b[2]]),
    "normalised": of_boxes(lambda b, h, w: [b[0] / w, b[1] / h, b[2] / w, b[3] / h]),
    "resized-frame": of_boxes(short_edge(800, 1333)),
    "resized-frame#1": of_boxes(lambda b, h, w: [side * 1024 / max(h, w) for side in b]),
    "resized-frame#2": of_boxes(
        lambda b, h, w: [b[0] * 512 / w, b[1] * 512 / h, b[2] * 512 / w, b[3] * 512 / h]
    ),
    "resized-frame#3": of_boxes(lambda b, h, w: [side * 727 / max(h, w) for side in b]),
    "resized-frame#4": of_boxes(stretched(1280, 720)),
    "resized-frame#5": of_boxes(stretched(640, 480)),
    "letterboxed-frame": of_boxes(letterboxed(640)),
    "letterboxed-frame#1": of_boxes(letterboxed(1280)),
    "letterboxed-frame#2": of_boxes(padded_to_strides(640)),
    "turned-frame": some_unturned(unturned),
    "turned-frame#1": of_boxes(unturned_back),
    "turned-frame#2": some_unturned(unturned_half),
    "mirrored-frame": of_boxes(lambda b, _, w: [w - b[0] - b[2], b[1], b[2], b[3]]),
    "mirrored-frame#1": of_boxes(lambda b, h, _: [b[0], h - b[1] - b[3], b[2], b[3]]),
    "index-from-0": of_categories(lambda one, ids, _: ids.index(one)),
    "index-from-1": of_categories(lambda one, ids, _: ids.index(one) + 1),
    "id-plus-1": of_categories(lambda one, *_: one + 1),
    "id-minus-1": of_categories(lambda one, *_: one - 1),
    "alphabetical": of_categories(lambda one, _, by_name: by_name.index(one)),
    "alphabetical#1": of_categories(lambda one, ids, by_name: ids[by_name.index(one)]),
    "other-order": other_order,
    "same-image-twice": some_twice,
    "nms-missing": unsuppressed,
    "one-share": one_share(8),
    "one-share#1": one_share(2),
    "one-share#2": one_block,
    "images-without-rows": some_silent,
    "more-than-100": too_many,
    "scores-equal": of_rows(lambda row: {**row, "score": 1.0}),
    "scores-inverted": of_rows(lambda row: {**row, "score": 1 - row["score"]}),
    "scores-in-percent": of_rows(lambda row: {**row, "score": row["score"] * 100}),
    "scores-cut": chosen_rows(lambda row: row["score"] >= 0.25),
    "scores-cut#1": chosen_rows(lambda row: row["score"] >= 0.3),
    "scores-cut#2": chosen_rows(lambda row: row["score"] >= 0.5),
    "nms-too-hard": suppressed(0.1, across=False),
    "nms-too-hard#1": suppressed(0.2, across=False),
    "nms-across-classes": suppressed(0.5, across=True),
    "nms-across-classes#1": suppressed(0.6, across=True),
    "crowd-as-object": without_crowds,
}

#: Down and right in px: each direction, and some that are farther.
SHIFTS = (
    *((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)),
    *((3, 0), (-2, 4)),
)

#: Faults of masks, by hypothesis.
MASK_FAULTS: Mapping[str, Break] = {
    "masks-resized": of_masks(half_size),
    "masks-transposed": of_masks(np.transpose),
    "masks-transposed#1": of_masks(column_by_column),
    "masks-transposed#2": of_masks(row_by_row),
    "masks-turned": of_masks(np.rot90),
    "masks-turned#1": of_masks(lambda pixels: np.rot90(pixels, 2)),
    "masks-turned#2": of_some_masks(lambda pixels: np.rot90(pixels, 2)),
    "masks-resized#1": of_masks(drawn(lambda b, *_: [side / 2 for side in b])),
    "masks-resized#2": of_masks(drawn(short_edge(800, 1333))),
    "masks-resized#3": of_masks(drawn(letterboxed(512))),
    **{
        f"masks-shifted#{number}": of_masks(moved(down, right))
        for number, (down, right) in enumerate(SHIFTS)
    },
}
