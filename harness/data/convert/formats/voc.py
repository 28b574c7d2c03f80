"""Pascal VOC: an XML file an image, and for some images an image of its instances.

A box is that of pixels counted from 1, both ends included; its left and top become one less, as in
Detectron2 (``data/datasets/pascal_voc.py``). Pixels of value n of ``SegmentationObject/NAME.png``
are the n-th object's; 255 belongs to none. Other programs write the same files with ``<polygon>``
(a mask) and ``<robndbox>`` (a turned box: centre, size and angle in radians).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from harness.core.errors import IntegrityError, UsageError
from harness.data.convert.alignment import whole_mask
from harness.data.convert.geometry import box_outline, turned
from harness.data.convert.source_annotations import (
    Outline,
    SourceAnnotations,
    SourceObject,
    Tally,
    stated_size,
)
from harness.data.fields import flag_of, number_of
from harness.data.image_files import UnreadableImage, open_image, size_of
from harness.data.own_results import files_below
from harness.data.text_files import read_lines, read_xml
from harness.measure.masks import is_usable

#: Where lists of image names of a part may be.
LISTS = ("Segmentation", "Main")

#: Values of pixels that belong to no object.
NO_OBJECT = (0, 255, 0xFFFF)

Instances = npt.NDArray[np.int64]


def read(
    source: Path, tally: Tally, *, part: str | None = None, encoding: str | None = None
) -> Iterator[SourceAnnotations]:
    """The annotations of every XML file below a folder, or of the one file ``source``.

    Args:
        source: Folder or file.
        tally: What is left out is counted here.
        part: Only the images of ``ImageSets/…/PART.txt``; None for all.
        encoding: Encoding of the files, where they do not declare it.

    Raises:
        IntegrityError: A file is no XML, or has a flag that is none.
        UsageError: There is no such part.
    """
    wanted = None if part is None else _part(source, part, encoding)
    for path in [source] if source.is_file() else sorted(files_below(source, "*.xml")):
        if wanted is not None and path.stem not in wanted:
            continue
        root = read_xml(path, encoding=encoding)
        if root.tag == "annotation":
            yield _annotations(root, path, tally)
        else:
            tally.note("XML files that are not VOC's: skipped", str(path))


def _part(source: Path, part: str, encoding: str | None) -> set[str]:
    paths = [path for name in LISTS for path in files_below(source, f"ImageSets/{name}/{part}.txt")]
    if not paths:
        known = sorted({path.stem for path in files_below(source, "ImageSets/*/*.txt")})
        raise UsageError(
            f"{source} has no list of images called {part}",
            hint=f"--part takes one of {', '.join(known) or 'none: there is no list'}",
        )
    lines = read_lines(paths[0], encoding=encoding)
    return {line.split()[0] for line in lines if line.strip()}


def _annotations(root: ElementTree.Element, path: Path, tally: Tally) -> SourceAnnotations:
    name = (root.findtext("filename") or "").strip()
    size = stated_size(*(round(_number(root, f"size/{side}") or 0) for side in ("height", "width")))
    elements = root.findall("object")
    instances = _instances(path, size, tally)
    objects = []
    for position, element in enumerate(elements, start=1):
        pixels = None if instances is None else instances == position
        one = _object(element, f"{path}: object {position}", pixels, tally)
        if one is not None:
            objects.append(one)
    if instances is not None:
        _count_nameless(instances, len(elements), path, tally)
    file_names = (*((name,) if name else ()), f"{path.stem}.jpg", f"{path.stem}.png")
    return SourceAnnotations(
        where=str(path),
        names=(*(f"../JPEGImages/{one}" for one in file_names), *file_names),
        beside=path.parent,
        frame=size,
        size_px=size,
        objects=tuple(objects),
        own_stem=path.stem,
    )


def _object(
    element: ElementTree.Element,
    where: str,
    pixels: npt.NDArray[np.bool_] | None,
    tally: Tally,
) -> SourceObject | None:
    """An ``<object>``: its pixels, else its polygons, else its box; None, and counted, if none."""
    category = (element.findtext("name") or "").strip()
    if _flag(element, "difficult", where):
        tally.note("objects marked difficult: kept like any other", where)
    if parts := len(element.findall("part")):
        tally.note("parts of objects, such as heads: not read", where, parts)
    if inner := len(element.findall(".//object")):
        tally.drop("inside another object", where, inner)
    if pixels is not None and pixels.any():
        return SourceObject(category=category, where=where, mask=whole_mask(pixels))
    outlines = _polygons(element, where, tally)
    if outlines:
        return SourceObject(category=category, where=where, outlines=tuple(outlines))
    box = _box(element) or _turned_box(element)
    if box is None:
        tally.drop("without a box", where)
        return None
    return SourceObject(category=category, where=where, outlines=(box,), is_box=True)


def _flag(element: ElementTree.Element, name: str, where: str) -> bool:
    try:
        return flag_of(element.findtext(name))
    except ValueError as error:
        raise IntegrityError(f"{where}: <{name}> {error}") from None


def _box(element: ElementTree.Element) -> Outline | None:
    sides = [_number(element, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
    x1, y1, x2, y2 = sides
    if x1 is None or y1 is None or x2 is None or y2 is None:
        return None
    return box_outline(min(x1, x2) - 1, min(y1, y2) - 1, max(x1, x2), max(y1, y2))


def _turned_box(element: ElementTree.Element) -> Outline | None:
    """The box of roLabelImg: its centre, its size, and an angle in radians, clockwise."""
    sides = [_number(element, f"robndbox/{side}") for side in ("cx", "cy", "w", "h", "angle")]
    x, y, width, height, angle = sides
    if x is None or y is None or width is None or height is None or angle is None:
        return None
    box = box_outline(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return turned(box, math.degrees(angle), (x, y))


def _polygons(element: ElementTree.Element, where: str, tally: Tally) -> list[Outline]:
    """The polygons of an object, in whichever of three ways they are written."""
    outlines = []
    for polygon in element.findall("polygon"):
        outline = _corners(polygon)
        if outline is None or not is_usable(outline):
            tally.note("polygons that cannot be read: the box is kept", where)
        else:
            outlines.append(outline)
    return outlines


def _corners(polygon: ElementTree.Element) -> Outline | None:
    """x1, y1, x2, … as elements of these names, or as ``<pt>`` or ``<point>`` with x and y."""
    points = [one for one in polygon if one.tag in ("pt", "point")]
    pairs: list[tuple[float | None, float | None]]
    if points:
        pairs = [(_number(one, "x"), _number(one, "y")) for one in points]
    else:
        count = sum(one.tag.startswith("x") for one in polygon)
        pairs = [
            (_number(polygon, f"x{n}"), _number(polygon, f"y{n}")) for n in range(1, count + 1)
        ]
    outline = [number for pair in pairs for number in pair if number is not None]
    return outline if len(outline) == 2 * len(pairs) else None


def _number(element: ElementTree.Element, name: str) -> float | None:
    try:
        return number_of((element.findtext(name) or "").strip())
    except ValueError:
        return None


def _instances(path: Path, size: tuple[int, int] | None, tally: Tally) -> Instances | None:
    """(H, W), the number of the object of every pixel; None where there is no such image.

    One that cannot be used is counted, and boxes are what is left.
    """
    file = path.parent.parent / "SegmentationObject" / f"{path.stem}.png"
    if not file.is_file():
        return None
    try:
        found = size_of(file)
        if size is not None and (found.height_px, found.width_px) != size:
            raise UnreadableImage(f"it is {found.width_px} × {found.height_px} px, as no image")
        with open_image(file) as image:
            if image.mode in ("RGB", "RGBA"):
                return _numbers_of_colours(np.asarray(image.convert("RGB")))
            # Instances are palette numbers, which a conversion to grey would lose.
            if image.mode in ("P", "L", "1") or image.mode.startswith("I"):
                return np.asarray(image).astype(np.int64)
            raise UnreadableImage(f"its pixels are {image.mode}")
    except Exception as bad:  # Pillow's many decoders raise anything on damaged bytes
        tally.note("images of instances that cannot be read: boxes are kept", f"{file}: {bad}")
        return None


def _numbers_of_colours(pixels: npt.NDArray[np.uint8]) -> Instances:
    """The numbers of VOC's palette (VOCdevkit, VOClabelcolormap) for colours.

    Args:
        pixels: (H, W, 3) uint8, RGB.

    Returns:
        (H, W) numbers.

    Raises:
        UnreadableImage: A colour is none of the palette.
    """
    numbers = np.arange(256)
    palette = np.zeros((256, 3), dtype=np.int64)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (numbers >> (3 * bit + channel) & 1) << (7 - bit)
    keys = palette @ (1 << 16, 1 << 8, 1)
    order = np.argsort(keys)
    found = pixels.astype(np.int64) @ (1 << 16, 1 << 8, 1)
    places = np.minimum(np.searchsorted(keys[order], found), 255)
    if (keys[order][places] != found).any():
        raise UnreadableImage("its colours are not those of VOC's palette")
    instances: Instances = order[places]
    return instances


def _count_nameless(instances: Instances, known: int, path: Path, tally: Tally) -> None:
    """Count instances that no ``<object>`` is of."""
    numbers = [one for one in np.unique(instances).tolist() if one not in NO_OBJECT]
    nameless = sum(not 1 <= one <= known for one in numbers)
    if nameless:
        tally.drop("in the image of instances, without an <object>", str(path), nameless)
