"""Pascal VOC: an XML file an image, and for some images a picture of its instances.

A box is that of pixels counted from 1, both ends included; its left and top become one less, as in
Detectron2 (``data/datasets/pascal_voc.py``). Pixels of value n of ``SegmentationObject/NAME.png``
are the n-th object's; 255 belongs to none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from harness.core.errors import IntegrityError, UsageError
from harness.data.convert.geometry import box_outline
from harness.data.convert.source_annotations import Drawn, DrawnObject, Tally, told_size
from harness.data.image_files import open_image

#: Where lists of image names of a part may lie.
LISTS = ("Segmentation", "Main")


def read(source: Path, tally: Tally, *, part: str | None = None) -> Iterator[Drawn]:
    """A drawing of every XML file below a folder, or of the one file ``source``.

    part: only the images of ``ImageSets/…/PART.txt``; None for all.
    """
    wanted = None if part is None else _part(source, part)
    for path in [source] if source.is_file() else sorted(source.rglob("*.xml")):
        if wanted is not None and path.stem not in wanted:
            continue
        try:
            root = ElementTree.parse(path).getroot()
        except ElementTree.ParseError as error:
            raise IntegrityError(f"{path} is not XML: {error}") from None
        if root.tag == "annotation":
            yield _drawn(root, path, tally)
        else:
            tally.note("XML file(s) that are not VOC's: passed over", str(path))


def _part(source: Path, part: str) -> set[str]:
    paths = [path for name in LISTS for path in source.rglob(f"ImageSets/{name}/{part}.txt")]
    if not paths:
        known = sorted({path.stem for path in source.rglob("ImageSets/*/*.txt")})
        raise UsageError(
            f"{source} has no list of images called {part}",
            hint=f"--part takes one of {', '.join(known) or 'none: there is no list'}",
        )
    lines = paths[0].read_text(encoding="utf-8").splitlines()
    return {line.split()[0] for line in lines if line.strip()}


def _drawn(root: ElementTree.Element, path: Path, tally: Tally) -> Drawn:
    name = (root.findtext("filename") or "").strip()
    size = told_size(*(round(_number(root, f"size/{side}") or 0) for side in ("height", "width")))
    instances = _instances(path)
    objects = []
    for position, element in enumerate(root.findall("object"), start=1):
        where = f"{path}: object {position}"
        if (element.findtext("difficult") or "0").strip() == "1":
            tally.note("object(s) marked difficult: kept like any other", where)
        box = _box(element)
        if box is None:
            tally.drop("without a box", where)
            continue
        mask = None if instances is None else instances == position
        if mask is not None and not mask.any():
            mask = None
        objects.append(
            DrawnObject(
                category=(element.findtext("name") or "").strip(),
                where=where,
                outlines=() if mask is not None else (box,),
                mask=mask,
                is_box=mask is None,
            )
        )
    told = (*((name,) if name else ()), f"{path.stem}.jpg", f"{path.stem}.png")
    return Drawn(
        where=str(path),
        names=(*(f"../JPEGImages/{one}" for one in told), *told),
        beside=path.parent,
        frame=size,
        size_px=size,
        objects=tuple(objects),
    )


def _box(element: ElementTree.Element) -> list[float] | None:
    sides = [_number(element, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
    left, top, right, bottom = sides
    if left is None or top is None or right is None or bottom is None:
        return None
    return box_outline(left - 1, top - 1, right, bottom)


def _number(element: ElementTree.Element, name: str) -> float | None:
    text = (element.findtext(name) or "").strip()
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _instances(path: Path) -> npt.NDArray[np.uint8] | None:
    """(H, W) uint8, the number of the object of every pixel; None where there is no picture."""
    picture = path.parent.parent / "SegmentationObject" / f"{path.stem}.png"
    if not picture.is_file():
        return None
    with open_image(picture) as file:
        # Instances are palette numbers, which a conversion to grey would lose.
        return np.asarray(file) if file.mode in ("P", "L") else None
