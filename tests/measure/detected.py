"""Generated objects and detections with every kind of error, the same on every machine."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.measure.masks import rle_of

#: Width and height of every image, px.
WIDTH_PX, HEIGHT_PX = 400, 300

#: The last two have no object; the very last no detection either.
CATEGORIES = (3, 7, 8, 20, 90)


def generated(images: int, seed: int = 0) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Annotations and predictions; boxes are masks too, some crowds, equal scores, empty images."""
    random = np.random.Generator(np.random.PCG64(seed))
    annotations: list[dict[str, Any]] = []
    predictions: list[dict[str, Any]] = []
    for image in range(1, images + 1):
        for _ in range(int(random.integers(0, 6))):
            box, category = _box(random), int(random.choice(CATEGORIES[:3]))
            crowd = int(random.random() < 0.05)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": category,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": crowd,
                    "segmentation": [_corners(box)],
                }
            )
            if image % 7:
                predictions += _detected(random, image, category, box)
        if image % 7 and random.random() < 0.5:
            predictions.append(
                _row(random, image, int(random.choice(CATEGORIES[:4])), _box(random))
            )
    content = {
        "images": [
            {"id": one, "height": HEIGHT_PX, "width": WIDTH_PX, "file_name": f"{one}.jpg"}
            for one in range(1, images + 1)
        ],
        "annotations": annotations,
        "categories": [{"id": one, "name": f"kind {one}"} for one in CATEGORIES],
    }
    return content, predictions


def _detected(
    random: np.random.Generator, image: int, category: int, box: list[int]
) -> list[dict[str, Any]]:
    """Detections of an object: some good, some moved, some of another category."""
    rows = []
    for _ in range(int(random.choice((0, 1, 1, 2, 3)))):
        share = float(random.choice((0.02, 0.1, 0.4)))
        moved = [
            int(np.clip(box[0] + random.normal() * share * box[2], 0, WIDTH_PX - 12)),
            int(np.clip(box[1] + random.normal() * share * box[3], 0, HEIGHT_PX - 12)),
            max(10, int(box[2] * (1 + random.normal() * share / 2))),
            max(10, int(box[3] * (1 + random.normal() * share / 2))),
        ]
        other = int(random.choice(CATEGORIES[:3])) if random.random() < 0.2 else category
        rows.append(_row(random, image, other, moved))
    return rows


def _row(random: np.random.Generator, image: int, category: int, box: list[int]) -> dict[str, Any]:
    return {
        "image_id": image,
        "category_id": category,
        "bbox": box,
        # Two digits: many are equal.
        "score": round(float(random.random()), 2),
        "segmentation": {
            "size": [HEIGHT_PX, WIDTH_PX],
            "counts": rle_of([_corners(box)], HEIGHT_PX, WIDTH_PX).counts,
        },
    }


def _box(random: np.random.Generator) -> list[int]:
    width, height = (int(random.choice((20, 60, 150))) + int(random.integers(10)) for _ in "wh")
    return [
        int(random.integers(0, WIDTH_PX - width)),
        int(random.integers(0, HEIGHT_PX - height)),
        width,
        height,
    ]


def _corners(box: list[int]) -> list[int]:
    x, y, width, height = box
    return [x, y, x + width, y, x + width, y + height, x, y + height]
