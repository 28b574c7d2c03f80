"""Annotations aligned with their images: the file found, its real size read, coordinates in its
pixels.

Programs that label see an image in one of three ways: as it is, scaled, or not turned upright by
its EXIF orientation. The size they record shows which; what fits none of them is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from harness.core.errors import UsageError
from harness.core.run_lengths import Rle, decode
from harness.data.convert.geometry import Point, mapped, scaled
from harness.data.convert.image_matching import ImageFolder, paths_in
from harness.data.convert.source_annotations import (
    Outline,
    SourceAnnotations,
    SourceObject,
    Tally,
)
from harness.data.image_files import SUFFIXES, TURNS, Size, UnreadableImage, is_file, size_of
from harness.files.atomic import replacing
from harness.measure.masks import encode_region

#: Where a point (x, y), both from 0 to 1, of a stored image is once the image is upright
#: (Exif 2.3, tag 274); only the orientations that the size shows.
UPRIGHT_POINTS: Mapping[int, Callable[[float, float], Point]] = {
    5: lambda x, y: (y, x),
    6: lambda x, y: (1 - y, x),
    7: lambda x, y: (1 - y, 1 - x),
    8: lambda x, y: (y, 1 - x),
}


class Claim(IntEnum):
    """How sure it is that annotations are of a file; a surer claim beats others."""

    OWN = 0
    """The path is right as it stands."""

    NAMED = 1
    """So it is, but an image called as the annotations' own file is there as well."""

    ENDING = 2
    """Only the ending of the path is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedAnnotations:
    """One image with its objects in its own pixels."""

    file_name: str
    """Path below the folder of images."""

    height_px: int
    """Height of the upright image."""

    width_px: int
    """Width of the upright image."""

    where: str
    """The annotations, as a report names them."""

    objects: tuple[SourceObject, ...]
    """Objects in pixels of the upright image; masks have its size."""

    claim: Claim = Claim.OWN
    """How sure it is that they are of this file."""

    stated_path: str = ""
    """What the annotations call the image, with the folder they are in."""


class _Found(NamedTuple):
    """A file of the folder, and how sure it is."""

    name: str
    claim: Claim


def aligned(
    sources: Iterable[SourceAnnotations], images: ImageFolder | None, tally: Tally
) -> Iterator[AlignedAnnotations]:
    """All annotations whose image is known; the others are counted in ``tally``.

    Args:
        sources: What a format read.
        images: None where no folder is known: names and sizes are then as stated.
        tally: What is left out or changed is counted here.
    """
    for source in sources:
        if images is None:
            one = _as_stated(source, tally)
        else:
            found = _file_of(source, images, tally)
            one = None if found is None else _on_image(source, images.folder, found, tally)
        if one is not None:
            yield one


def _as_stated(source: SourceAnnotations, tally: Tally) -> AlignedAnnotations | None:
    if source.size_px is None:
        tally.drop_image("nothing says how large it is", source)
        return None
    height, width = source.size_px
    size = Size(height_px=height, width_px=width, orientation=1)
    return _aligned(source, _Found(source.names[0], Claim.OWN), size, sideways=False)


def _file_of(source: SourceAnnotations, images: ImageFolder, tally: Tally) -> _Found | None:
    """The file that annotations mean; None, and counted, where it is not clear."""
    match = images.match(source.names, source.beside, is_sidecar=source.own_stem is not None)
    if len(match.names) > 1:
        tally.drop_image("several files could be it", source, ", ".join(match.names[:2]))
        return None
    # An image inside is surer than a file of which only the ending of the path is right.
    if match.names and (match.is_exact or source.embedded is None or not images.extract):
        (name,) = match.names
        return _Found(name, _claim(source, name, images) if match.is_exact else Claim.ENDING)
    if source.embedded is not None:
        return _extracted(source, images, tally)
    if match.contradicted:
        detail = f"{source.names[0]}; there is {', '.join(match.contradicted[:2])}"
        tally.drop_image("only files in other folders have its name", source, detail)
    else:
        tally.drop_image("no such file among the images", source, source.names[0])
    return None


def _claim(source: SourceAnnotations, name: str, images: ImageFolder) -> Claim:
    stem = source.own_stem
    if stem is None or PurePosixPath(name).stem == stem:
        return Claim.OWN
    return Claim.NAMED if images.has_own(stem, source.beside) else Claim.OWN


def _extracted(source: SourceAnnotations, images: ImageFolder, tally: Tally) -> _Found | None:
    """The image inside its annotations, written into the folder; None, and counted, if not."""
    assert source.embedded is not None
    if not images.extract:
        raise UsageError(
            f"{source.where} holds its image inside, and {source.names[0][:80]} is not beside it",
            hint="name a folder for such images: --images DIR",
        )
    try:
        content = source.embedded()
    except ValueError:
        tally.drop_image("the image inside the annotations is damaged", source)
        return None
    name = PurePosixPath(source.names[0].replace("\\", "/")).name
    if PurePosixPath(name).suffix.lower() not in SUFFIXES:
        tally.drop_image("its image inside is not called as an image", source, name)
        return None
    if images.source is not None and source.beside.is_relative_to(images.source):
        name = (source.beside.relative_to(images.source) / name).as_posix()
    path = images.folder / name
    try:
        if is_file(path) and path.read_bytes() != content:
            tally.drop_image("another image of its name is there already", source, name)
            return None
        if not is_file(path):
            with replacing(path) as temporary:
                temporary.write_bytes(content)
            tally.note(f"images taken out of their annotations into {path.parent}", source.where)
    except (ValueError, FileNotFoundError):
        tally.drop_image("no file can have its name", source, name)
        return None
    except OSError as error:
        tally.drop_image("its image inside cannot be written", source, str(error.strerror))
        return None
    return _Found(name, Claim.OWN)


def _on_image(
    source: SourceAnnotations, folder: Path, found: _Found, tally: Tally
) -> AlignedAnnotations | None:
    if not found.name.isascii() and not _is_text(found.name):
        tally.drop_image("whose file name is no Unicode text: rename it", source, ascii(found.name))
        return None
    try:
        size = size_of(folder / found.name)
    except UnreadableImage as bad:
        tally.drop_image("not a readable image", source, str(bad))
        return None
    stated = source.size_px
    if stated is None or stated == (size.height_px, size.width_px):
        return _aligned(source, found, size, sideways=False)
    if stated == size.stored_px:
        tally.note("images labelled as stored: their objects were turned upright", source.where)
        return _aligned(source, found, size, sideways=True)
    # One pixel of rounding, whichever side was computed from the other.
    if abs(stated[1] / stated[0] - size.width_px / size.height_px) > 1 / min(stated):
        shape = f"{stated[1]} × {stated[0]} px there, {size.width_px} × {size.height_px} px here"
        tally.drop_image("labelled on an image of another shape", source, shape)
        return None
    tally.note("images labelled in another size: their objects were scaled", source.where)
    return _aligned(source, found, size, sideways=False)


def _is_text(name: str) -> bool:
    """Whether a name is text; of bytes that are not, Python makes half characters."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _aligned(
    source: SourceAnnotations, found: _Found, size: Size, *, sideways: bool
) -> AlignedAnnotations:
    height, width = size.height_px, size.width_px
    frame = source.frame or (height, width)

    def outline(one: Outline) -> Outline:
        unit = scaled(one, 1 / frame[1], 1 / frame[0])
        if sideways:
            unit = mapped(unit, UPRIGHT_POINTS[size.orientation])
        return scaled(unit, width, height)

    keep = frame == (height, width) and not sideways
    objects = tuple(
        SourceObject(
            category=one.category,
            where=one.where,
            outlines=one.outlines if keep else tuple(map(outline, one.outlines)),
            mask=None if one.mask is None else _mask(one.mask, size, sideways=sideways),
            is_box=one.is_box,
            crowd=one.crowd,
        )
        for one in source.objects
    )
    return AlignedAnnotations(
        file_name=found.name,
        height_px=height,
        width_px=width,
        where=source.where,
        objects=objects,
        claim=found.claim,
        stated_path=_stated_path(source),
    )


def _stated_path(source: SourceAnnotations) -> str:
    """What distinguishes images where only the ending of a path is right."""
    plain = next(iter(paths_in(source.names[0])), "")
    return f"{source.beside}/{plain}" if source.own_stem is not None else plain


def _mask(mask: Rle, size: Size, *, sideways: bool) -> Rle:
    """The mask at the size of its image, each pixel the nearest one's."""
    if (mask.height_px, mask.width_px) == (size.height_px, size.width_px) and not sideways:
        return mask
    image = PillowImage.fromarray(decode(mask))
    if sideways:
        image = image.transpose(TURNS[size.orientation])
    resized = image.resize((size.width_px, size.height_px), PillowImage.Resampling.NEAREST)
    return whole_mask(np.asarray(resized, dtype=bool))


def whole_mask(pixels: npt.NDArray[np.bool_]) -> Rle:
    """The run lengths of a mask of a whole image.

    Args:
        pixels: (height, width) bool.
    """
    height, width = pixels.shape
    return encode_region(pixels, top_px=0, left_px=0, height_px=height, width_px=width)
