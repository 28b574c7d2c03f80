"""A COCO file as labelme and as Label Studio would have it, to measure the way back and a training.

``photos`` has each image with labelme's file beside it; ``export.json`` is a Label Studio export of
the same images. Crowds are left out. A region of Label Studio is one polygon, so objects in several
parts keep their largest one there.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

#: Categories of COCO that the measured fine-tuning learns.
CATEGORIES = "person,bus,train,airplane,horse,cow,elephant"

Row = dict[str, Any]


def labelme(image: Row, objects: list[tuple[str, list[list[float]]]]) -> Row:
    """The labelme file of an image: the parts of an object have one group.

    Args:
        image: The row of a COCO file.
        objects: Label and polygons (x1, y1, x2, … in px) of each object.
    """
    shapes = [
        {"label": label, "points": _points(part), "group_id": group, "shape_type": "polygon"}
        for group, (label, parts) in enumerate(objects)
        for part in parts
    ]
    sizes = {"imageHeight": image["height"], "imageWidth": image["width"]}
    name = image["file_name"]
    return {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": name, **sizes}


def label_studio_task(image: Row, objects: list[tuple[str, list[list[float]]]]) -> Row:
    """The task of an image in a Label Studio export.

    Args:
        image: The row of a COCO file.
        objects: Label and polygons (x1, y1, x2, … in px) of each object.
    """
    width, height = image["width"], image["height"]
    results = []
    for number, (label, parts) in enumerate(objects):
        points = [[100 * x / width, 100 * y / height] for x, y in _points(max(parts, key=_area))]
        results.append(
            {
                "id": f"{image['id']}-{number}",
                "type": "polygonlabels",
                "from_name": "label",
                "to_name": "image",
                "original_width": width,
                "original_height": height,
                "value": {"points": points, "polygonlabels": [label]},
            }
        )
    address = f"/data/upload/1/{image['id'] % 16**8:08x}-{image['file_name']}"
    annotation = {"id": image["id"], "was_cancelled": False, "result": results}
    return {"id": image["id"], "data": {"image": address}, "annotations": [annotation]}


def write(annotations: Path, images: Path, output: Path, names: list[str]) -> int:
    """Write both forms and return how many images they have.

    Args:
        annotations: COCO file.
        images: Folder of its images, which are copied.
        output: Folder to write to.
        names: Categories; images without an object of them are left out.
    """
    content = json.loads(annotations.read_text(encoding="utf-8"))
    labels = {one["id"]: one["name"] for one in content["categories"] if one["name"] in names}
    objects: dict[int, list[tuple[str, list[list[float]]]]] = {}
    for row in content["annotations"]:
        if row["category_id"] in labels and not row["iscrowd"]:
            found = (labels[row["category_id"]], row["segmentation"])
            objects.setdefault(row["image_id"], []).append(found)
    photos = output / "photos"
    photos.mkdir(parents=True)
    tasks = []
    for image in sorted(content["images"], key=lambda one: int(one["id"])):
        if image["id"] not in objects:
            continue
        shutil.copy(images / image["file_name"], photos)
        file = (photos / image["file_name"]).with_suffix(".json")
        file.write_text(json.dumps(labelme(image, objects[image["id"]])), encoding="utf-8")
        tasks.append(label_studio_task(image, objects[image["id"]]))
    (output / "export.json").write_text(json.dumps(tasks), encoding="utf-8")
    return len(tasks)


def _points(flat: list[float]) -> list[list[float]]:
    return [list(pair) for pair in zip(flat[::2], flat[1::2], strict=True)]


def _area(flat: list[float]) -> float:
    points = _points(flat)
    following = [*points[1:], points[0]]
    turns = (x * v - u * y for (x, y), (u, v) in zip(points, following, strict=True))
    return abs(sum(turns)) / 2


def main() -> None:
    """Write both forms of a COCO file."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--annotations", type=Path, required=True, help="COCO file")
    parser.add_argument("--images", type=Path, required=True, help="folder of its images")
    parser.add_argument("--output", type=Path, required=True, help="folder to write, a new one")
    parser.add_argument("--categories", default=CATEGORIES, help="names, separated by commas")
    given = parser.parse_args()
    names = given.categories.split(",")
    count = write(given.annotations, given.images, given.output, names)
    sys.stdout.write(f"{count} images: {given.output / 'photos'}, {given.output / 'export.json'}\n")


if __name__ == "__main__":
    main()
