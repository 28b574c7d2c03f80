"""ImageFolder found by what annotations call them, and drawings brought into their pixels."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.core.errors import UsageError
from harness.core.run_lengths import decode
from harness.data.convert.alignment import AlignedAnnotations, aligned, whole_mask
from harness.data.convert.geometry import box_outline
from harness.data.convert.image_matching import ImageFolder
from harness.data.convert.source_annotations import UNIT, SourceAnnotations, SourceObject, Tally
from harness.data.image_files import size_of
from harness.data.images import read_pixels
from tests.data.convert.formats.drawing import photograph

DRAWN = SourceAnnotations(
    where="a.json",
    names=("a.jpg",),
    beside=Path("nowhere"),
    frame=(60, 80),
    size_px=(60, 80),
    objects=(
        SourceObject(category="cup", where="a.json: 0", outlines=(box_outline(8, 6, 16, 30),)),
    ),
)


def place(
    drawn: SourceAnnotations, folder: Path | None, tally: Tally, *, extract: bool = False
) -> list[AlignedAnnotations]:
    photographs = None if folder is None else ImageFolder(folder, extract=extract)
    return list(aligned([drawn], photographs, tally))


def test_drawings_in_another_size_are_scaled(tmp_path: Path) -> None:
    photograph(tmp_path / "a.jpg", 160, 120)
    tally = Tally()
    (one,) = place(DRAWN, tmp_path, tally)
    assert (one.height_px, one.width_px) == (120, 160)
    assert one.objects[0].outlines[0] == pytest.approx(box_outline(16, 12, 32, 60))
    assert list(tally.notes) == ["images labelled in another size: their objects were scaled"]


def test_another_shape_is_left_out_with_its_objects(tmp_path: Path) -> None:
    photograph(tmp_path / "a.jpg", 100, 60)
    tally = Tally()
    assert place(DRAWN, tmp_path, tally) == []
    (why,) = tally.images.values()
    assert why.what == "labelled on an image of another shape"
    assert "80 × 60 px there, 100 × 60 px here" in why.first
    assert [one.count for one in tally.objects.values()] == [1]


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_what_was_drawn_on_the_stored_image_is_turned_upright(
    tmp_path: Path, orientation: int
) -> None:
    """The object's pixels are those that decoding shows, whatever the EXIF says."""
    from PIL import Image

    picture = Image.new("RGB", (80, 60))
    picture.paste((255, 255, 255), (8, 6, 16, 30))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "a.png", exif=exif)
    mask = np.zeros((60, 80), dtype=bool)
    mask[6:30, 8:16] = True
    masked = SourceObject(category="cup", where="mask", mask=whole_mask(mask))
    drawn = replace(DRAWN, names=("a.png",), objects=(*DRAWN.objects, masked))
    (one,) = place(drawn, tmp_path, Tally())
    assert (one.height_px, one.width_px) == (80, 60)
    white = read_pixels(tmp_path / "a.png", where="a")[..., 0] > 128
    rows, columns = np.nonzero(white)
    outline = one.objects[0].outlines[0]
    assert (min(outline[::2]), min(outline[1::2])) == pytest.approx((columns.min(), rows.min()))
    assert (max(outline[::2]), max(outline[1::2])) == pytest.approx(
        (columns.max() + 1, rows.max() + 1)
    )
    assert np.array_equal(decode(one.objects[1].mask), white)


def test_upright_drawings_on_turned_photographs_stay(tmp_path: Path) -> None:
    photograph(tmp_path / "a.jpg", 60, 80, orientation=6)
    assert size_of(tmp_path / "a.jpg").stored_px == (80, 60)
    (one,) = place(DRAWN, tmp_path, Tally())
    assert one.objects == DRAWN.objects


def test_shares_become_pixels_and_masks_grow(tmp_path: Path) -> None:
    photograph(tmp_path / "a.jpg", 80, 60)
    small = np.zeros((30, 40), dtype=bool)
    small[10:20, 20:30] = True
    objects = (
        SourceObject(category="cup", where="box", outlines=(box_outline(0.5, 0.5, 1, 1),)),
        SourceObject(category="cup", where="mask", mask=whole_mask(small)),
    )
    (one,) = place(replace(DRAWN, frame=UNIT, size_px=None, objects=objects), tmp_path, Tally())
    assert one.objects[0].outlines == (box_outline(40, 30, 80, 60),)
    assert one.objects[1].mask is not None
    mask = decode(one.objects[1].mask)
    assert mask.shape == (60, 80)
    assert mask[20:40, 40:60].all()
    assert mask.sum() == 400


def test_missing_unreadable_and_ambiguous_photographs(tmp_path: Path) -> None:
    tally = Tally()
    assert place(DRAWN, tmp_path, tally) == []
    (tmp_path / "a.jpg").write_bytes(b"no image")
    assert place(DRAWN, tmp_path, tally) == []
    for folder in ("x", "y"):
        photograph(tmp_path / folder / "b.jpg", 8, 6)
    assert place(replace(DRAWN, names=("b.jpg",)), tmp_path, tally) == []
    assert list(tally.images) == [
        "no such file among the images",
        "not a readable image",
        "several files could be it",
    ]


def test_embedded_images_are_written_where_asked(tmp_path: Path) -> None:
    content = photograph(tmp_path / "elsewhere" / "a.png", 80, 60).read_bytes()
    drawn = replace(DRAWN, names=("..\\photos\\a.png",), embedded=lambda: content)
    folder = tmp_path / "images"
    with pytest.raises(UsageError, match="--images DIR"):
        place(drawn, folder, Tally())
    (one,) = place(drawn, folder, Tally(), extract=True)
    assert (folder / one.file_name).read_bytes() == content
    other = replace(drawn, where="b.json", embedded=lambda: b"another image")
    tally, fresh = Tally(), tmp_path / "fresh"
    found = list(aligned([drawn, other, drawn], ImageFolder(fresh, extract=True), tally))
    assert [one.where for one in found] == ["a.json", "a.json"]
    assert [(one.what, one.first) for one in tally.images.values()] == [
        ("another image of its name is there already", "b.json: a.png")
    ]
    damaged = replace(
        drawn, names=("b.png",), embedded=lambda: base64.b64decode("é", validate=True)
    )
    tally = Tally()
    assert place(damaged, folder, tally, extract=True) == []
    assert list(tally.images) == ["the image inside the annotations is damaged"]


def test_without_a_folder_names_and_sizes_are_as_told() -> None:
    (one,) = place(DRAWN, None, Tally())
    assert (one.file_name, one.height_px, one.width_px) == ("a.jpg", 60, 80)
    tally = Tally()
    assert place(replace(DRAWN, size_px=None), None, tally) == []
    assert list(tally.images) == ["nothing says how large it is"]
