"""A keypoint data set made of generated scenes, with the keypoints of COCO's persons."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from harness.data.categories import COCO_PERSON
from tests.first_scenes import first_scenes


def write_keypoint_data(path: Path, *, images: int, root: Path) -> Path:
    """Write an annotation file of the first scenes, whose objects are persons with keypoints.

    Places and flags are drawn from a seed; every fifth object has no labelled keypoint.

    Args:
        path: Where the file goes.
        images: How many.
        root: Where the generated scenes are.

    Returns:
        The folder of the images.
    """
    scenes, content = first_scenes(images, root)
    random = np.random.Generator(np.random.PCG64(1))
    content["categories"] = [
        {
            "id": 1,
            "name": "person",
            "keypoints": list(COCO_PERSON.keypoints),
            "skeleton": [list(bone) for bone in COCO_PERSON.skeleton],
        }
    ]
    for number, row in enumerate(content["annotations"]):
        x, y, width, height = row["bbox"]
        places = np.floor([x, y] + random.random((17, 2)) * [width, height])
        flags = random.integers(0, 3, 17) * (number % 5 != 0)
        flat = np.concatenate((places, flags[:, None]), axis=1)
        flat[flags == 0] = 0
        del row["segmentation"]
        row |= {"category_id": 1, "keypoints": flat.ravel().tolist()}
    path.write_text(json.dumps(content), "utf-8")
    return scenes / "images"
