"""The first generated scenes, for data sets of another task that are made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.data.synthetic import generate


def first_scenes(images: int, root: Path) -> tuple[Path, dict[str, Any]]:
    """Return the folder of generated scenes, and the annotations of the first ones.

    Args:
        images: How many.
        root: Where the generated scenes are; they are made there first if need be.
    """
    scenes = generate("synthetic_val", root)
    content: dict[str, Any] = json.loads((scenes / "annotations.json").read_text("utf-8"))
    content["images"] = content["images"][:images]
    kept = {image["id"] for image in content["images"]}
    content["annotations"] = [row for row in content["annotations"] if row["image_id"] in kept]
    return scenes, content
