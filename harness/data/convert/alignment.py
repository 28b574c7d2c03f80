"""Drawings brought onto their photographs: the file found, its real size read, coordinates in its
pixels.

Programs that label see an image in one of three ways: as it is, scaled, or not turned upright as
its EXIF says. Each is told from the size they write down; what fits none of them is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from harness.core.errors import UsageError
from harness.data.convert.geometry import Point, mapped, scaled
from harness.data.convert.image_matching import Photographs
from harness.data.convert.source_annotations import Drawn, DrawnObject, Outline, Tally
from harness.data.image_files import TURNS, Size, UnreadableImage, size_of
from harness.files.atomic import replacing

#: Where a point (x, y), both from 0 to 1, of a stored image is once the image is upright
#: (Exif 2.3, tag 274); only the orientations that can be told from the size.
UPRIGHT_POINTS: Mapping[int, Callable[[float, float], Point]] = {
    5: lambda x, y: (y, x),
    6: lambda x, y: (1 - y, x),
    7: lambda x, y: (1 - y, 1 - x),
    8: lambda x, y: (y, 1 - x),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """One photograph with its objects in its own pixels. file_name: below the images' folder."""

    file_name: str
    height_px: int
    width_px: int
    where: str
    objects: tuple[DrawnObject, ...]


def placed(
    drawings: Iterable[Drawn], photographs: Photographs | None, tally: Tally
) -> Iterator[Placed]:
    """Every drawing whose photograph is known; the others are counted in ``tally``.

    photographs: None where nobody said where they are: names and sizes are then as told.
    """
    for drawn in drawings:
        if photographs is None:
            one = _as_told(drawn, tally)
        else:
            name = _file_name(drawn, photographs, tally)
            one = None if name is None else _on_photograph(drawn, photographs.folder, name, tally)
        if one is not None:
            yield one


def _as_told(drawn: Drawn, tally: Tally) -> Placed | None:
    if drawn.size_px is None:
        tally.drop_image("nothing says how large it is", drawn)
        return None
    height, width = drawn.size_px
    size = Size(height_px=height, width_px=width, orientation=1)
    return _placed(drawn, drawn.names[0], size, sideways=False)


def _file_name(drawn: Drawn, photographs: Photographs, tally: Tally) -> str | None:
    found = photographs.matches(drawn.names, drawn.beside)
    if len(found) == 1:
        return found[0]
    if found:
        tally.drop_image("several files could be it", drawn, ", ".join(found[:2]))
        return None
    if drawn.embedded is None:
        tally.drop_image("no such file among the images", drawn, drawn.names[0])
        return None
    if not photographs.extract:
        raise UsageError(
            f"{drawn.where} holds its image inside, and {drawn.names[0]} is not beside it",
            hint="say where such images are to be written: --images DIR",
        )
    name = PurePosixPath(drawn.names[0].replace("\\", "/")).name
    path = photographs.folder / name
    try:
        content = drawn.embedded()
    except ValueError:
        tally.drop_image("the image inside the annotations is damaged", drawn)
        return None
    if path.exists() and path.read_bytes() != content:
        tally.drop_image("another image of its name is there already", drawn, name)
        return None
    if not path.exists():
        with replacing(path) as temporary:
            temporary.write_bytes(content)
        tally.note(f"image(s) taken out of their annotations into {path.parent}", drawn.where)
    return name


def _on_photograph(drawn: Drawn, folder: Path, name: str, tally: Tally) -> Placed | None:
    try:
        size = size_of(folder / name)
    except UnreadableImage:
        tally.drop_image("not a readable image", drawn)
        return None
    told = drawn.size_px
    if told is None or told == (size.height_px, size.width_px):
        return _placed(drawn, name, size, sideways=False)
    if told == size.stored_px:
        tally.note("image(s) labelled as stored: their objects were turned upright", drawn.where)
        return _placed(drawn, name, size, sideways=True)
    # One pixel of rounding, whichever side was computed from the other.
    if abs(told[1] / told[0] - size.width_px / size.height_px) > 1 / min(told):
        shape = f"{told[1]} × {told[0]} px there, {size.width_px} × {size.height_px} px here"
        tally.drop_image("labelled on an image of another shape", drawn, shape)
        return None
    tally.note("image(s) labelled in another size: their objects were scaled", drawn.where)
    return _placed(drawn, name, size, sideways=False)


def _placed(drawn: Drawn, name: str, size: Size, *, sideways: bool) -> Placed:
    height, width = size.height_px, size.width_px
    frame = drawn.frame or (height, width)

    def outline(one: Outline) -> Outline:
        unit = scaled(one, 1 / frame[1], 1 / frame[0])
        if sideways:
            unit = mapped(unit, UPRIGHT_POINTS[size.orientation])
        return scaled(unit, width, height)

    keep = frame == (height, width) and not sideways
    objects = tuple(
        DrawnObject(
            category=one.category,
            where=one.where,
            outlines=one.outlines if keep else tuple(map(outline, one.outlines)),
            mask=None if one.mask is None else _mask(one.mask, size, sideways=sideways),
            is_box=one.is_box,
            crowd=one.crowd,
        )
        for one in drawn.objects
    )
    return Placed(
        file_name=name, height_px=height, width_px=width, where=drawn.where, objects=objects
    )


def _mask(mask: npt.NDArray[np.bool_], size: Size, *, sideways: bool) -> npt.NDArray[np.bool_]:
    """The mask at the size of its image, each pixel the nearest one's."""
    if mask.shape == (size.height_px, size.width_px) and not sideways:
        return mask
    picture = PillowImage.fromarray(mask)
    if sideways:
        picture = picture.transpose(TURNS[size.orientation])
    resized = picture.resize((size.width_px, size.height_px), PillowImage.Resampling.NEAREST)
    return np.asarray(resized, dtype=bool)
