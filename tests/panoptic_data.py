"""A panoptic data set made of generated scenes, with COCO's categories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.run_lengths import decode
from harness.data.categories import COCO_CATEGORIES, COCO_STUFF
from harness.data.panoptic import png_of
from harness.measure.masks import rle_of
from tests.first_scenes import first_scenes

#: Columns at the right that belong to no segment, px.
VOID_PX = 12


def write_panoptic_data(folder: Path, *, images: int, root: Path) -> Path:
    """Write ``instances.json``, ``panoptic.json`` and ``panoptic/`` of the first scenes.

    Every object is a thing of its category's place among COCO's; every ninth is a crowd. What is
    left is one kind of stuff in each half of the image, but for columns of no segment.

    Args:
        folder: Where they go.
        images: How many.
        root: Where the generated scenes are.

    Returns:
        The folder of the images.
    """
    scenes, content = first_scenes(images, root)
    rows = content["annotations"]
    for number, row in enumerate(rows):
        row["category_id"] = COCO_CATEGORIES[row["category_id"]].category_id
        row["iscrowd"] = int(number % 9 == 8)
    content["categories"] = [{"id": one.category_id, "name": one.name} for one in COCO_CATEGORIES]
    (folder / "panoptic").mkdir()
    annotations = [_map(folder, image, rows) for image in content["images"]]
    categories = [
        {"id": one.category_id, "name": one.name, "isthing": int(is_thing)}
        for is_thing, part in ((True, COCO_CATEGORIES), (False, COCO_STUFF))
        for one in part
    ]
    panoptic = {"images": content["images"], "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content), "utf-8")
    (folder / "panoptic.json").write_text(json.dumps(panoptic), "utf-8")
    return scenes / "images"


def _map(folder: Path, image: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Write the PNG of an image, and return its row."""
    size = (image["height"], image["width"])
    ids = np.zeros(size, dtype=np.int32)
    categories: dict[int, tuple[int, int]] = {}
    for side, part in enumerate((slice(None, size[1] // 2), slice(size[1] // 2, -VOID_PX))):
        number = 70_000 * (side + 1)
        ids[:, part] = number
        categories[number] = (COCO_STUFF[(image["id"] + side) % len(COCO_STUFF)].category_id, 0)
    for row in rows:
        if row["image_id"] == image["id"]:
            ids[decode(rle_of(row["segmentation"], *size))] = row["id"]
            categories[row["id"]] = (row["category_id"], row["iscrowd"])
    name = f"{Path(image['file_name']).stem}.png"
    (folder / "panoptic" / name).write_bytes(png_of(ids))
    there = {int(one) for one in np.unique(ids)} - {0}
    segments = [
        {
            "id": number,
            "category_id": category,
            "iscrowd": crowd,
            "area": int((ids == number).sum()),
            "bbox": [0, 0, 1, 1],
        }
        for number, (category, crowd) in categories.items()
        if number in there
    ]
    return {"image_id": image["id"], "file_name": name, "segments_info": segments}
