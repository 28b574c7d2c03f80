"""Drawn pictures as files: the picture, and a small one for pages with many."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from harness.files.atomic import temporary_path

#: JPEG: colours at full resolution, since thin lines are lost without; no visible artefacts.
JPEG: dict[str, Any] = {"quality": 88, "subsampling": 0}
SMALL_JPEG: dict[str, Any] = {"quality": 80}

#: The fastest level of zlib that still compresses: drawn pictures are not kept for long.
PNG: dict[str, Any] = {"compress_level": 3}

#: Of a small picture, the longest edge; and of one with two pictures in it.
SMALL_PX, SMALL_PAIR_PX = 480, 880


def write_picture(
    path: Path,
    image_bgr: npt.NDArray[np.uint8],
    *,
    small: Path | None,
    small_px: int = SMALL_PX,
) -> None:
    """The picture at ``path``, by its ending, and its small one; whole or not at all."""
    height, width = image_bgr.shape[:2]
    content = np.ascontiguousarray(image_bgr)
    picture = PillowImage.frombuffer("RGB", (width, height), content, "raw", "BGR", 0, 1)
    _write(picture, path, JPEG if path.suffix == ".jpg" else PNG)
    if small is not None:
        picture.thumbnail((small_px, small_px), reducing_gap=2.0)
        _write(picture, small, SMALL_JPEG)


def _write(picture: PillowImage.Image, path: Path, options: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside its place, then renamed: what a killed run leaves is never half a picture.
    draft = temporary_path(path, ending=path.suffix)
    try:
        picture.save(draft, **options)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def picture_names(file_names: Sequence[str], ending: Literal["jpg", "png"]) -> list[str]:
    """A name for the picture of each file, no two the same, in the same folders.

    ``a/b.png`` becomes ``a/b.jpg``; where that is taken, ``a/b.png.jpg``.
    """
    taken: set[str] = set()
    names = []
    for file_name in file_names:
        path = PurePosixPath(file_name)
        candidates = [path.with_suffix(f".{ending}"), path.with_name(f"{path.name}.{ending}")]
        candidates += [path.with_name(f"{path.name}.{len(taken)}.{ending}")]
        name = next(str(one) for one in candidates if str(one).casefold() not in taken)
        taken.add(name.casefold())
        names.append(name)
    return names
