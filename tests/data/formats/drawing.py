"""Small photographs and annotation files for the tests of formats."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from PIL import Image

#: Exif 2.3, tag 274.
ORIENTATION = 0x0112


def photograph(path: Path, width: int, height: int, orientation: int | None = None) -> Path:
    """A JPEG or PNG of the given stored size, with an EXIF orientation when asked for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    # No two names have the same pixels.
    picture.paste(tuple(hashlib.md5(path.stem.encode()).digest()[:3]), (0, 0, 4, 4))
    if orientation is None:
        picture.save(path)
    else:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        picture.save(path, exif=exif)
    return path


def written(path: Path, content: Any) -> Path:
    """``content`` as JSON at ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def labelme_file(path: Path, shapes: list[dict[str, Any]], **more: Any) -> Path:
    """A labelme file for the photograph of the same stem, 80 × 60 px."""
    content = {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": f"{path.stem}.jpg",
        "imageData": None,
        "imageHeight": 60,
        "imageWidth": 80,
    }
    return written(path, {**content, **more})


def shape(label: str, points: list[list[float]], kind: str = "polygon", **more: Any) -> Any:
    """One shape of labelme's."""
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, **more}
