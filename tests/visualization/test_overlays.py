"""Detections drawn on an image: what changes, what does not, and what is refused."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from harness.core.detections import Detections
from harness.core.errors import UsageError
from harness.core.run_lengths import Rle
from harness.measure.masks import encode_region
from harness.visualization.overlays import DrawingStyle, draw, percent

NAMES = ("cat", "dog")
BARE = DrawingStyle(boxes=False, labels=False, threshold=0.0)


def test_a_mask_is_filled_and_its_surroundings_stay() -> None:
    image = grey_image()
    drawn = draw(image, detections([(40, 30, 100, 90)]), NAMES, BARE)
    assert (drawn[:20] == image[:20]).all()
    assert (drawn[:, :30] == image[:, :30]).all()
    assert (drawn[40:80, 50:90] != image[40:80, 50:90]).any(axis=2).all()


def test_opacity_is_how_much_of_the_colour_is_there() -> None:
    boxes = [(40, 30, 100, 90)]
    faint, strong = (
        draw(grey_image(), detections(boxes), NAMES, style_with(opacity=opacity))[60, 70]
        for opacity in (0.1, 0.9)
    )
    assert np.abs(strong.astype(int) - 128).sum() > 5 * np.abs(faint.astype(int) - 128).sum()


def test_the_image_itself_is_not_painted_on() -> None:
    image = grey_image()
    before = image.copy()
    draw(image, detections([(40, 30, 100, 90)]), NAMES)
    assert (image == before).all()


def test_what_scores_below_the_threshold_is_not_drawn() -> None:
    image = grey_image()
    found = detections([(40, 30, 100, 90)], scores=[0.4])
    assert (draw(image, found, NAMES, DrawingStyle(threshold=0.41)) == image).all()
    assert (draw(image, found, NAMES, DrawingStyle(threshold=0.4)) != image).any()


def test_grey_ground_keeps_the_colour_of_objects_alone() -> None:
    image = np.full((120, 160, 3), (10, 200, 90), dtype=np.uint8)
    drawn = draw(
        image,
        detections([(40, 30, 100, 90)]),
        NAMES,
        style_with(background="grey", opacity=0.0),
    )
    assert (drawn[60, 70] == image[60, 70]).all()
    assert len(set(drawn[5, 5].tolist())) == 1


def test_grey_ground_without_masks_keeps_the_boxes() -> None:
    image = np.full((120, 160, 3), (10, 200, 90), dtype=np.uint8)
    found = detections([(40, 30, 100, 90)], with_masks=False)
    drawn = draw(image, found, NAMES, style_with(background="grey"))
    assert (drawn[60, 70] == image[60, 70]).all()
    assert len(set(drawn[5, 5].tolist())) == 1


@pytest.mark.parametrize("scale", [0.37, 0.5, 1.0, 2.5])
def test_a_scaled_picture_has_the_mask_in_its_place(scale: float) -> None:
    drawn = draw(grey_image(), detections([(40, 30, 100, 90)]), NAMES, style_with(scale=scale))
    assert drawn.shape == (round(120 * scale), round(160 * scale), 3)
    changed = (drawn != 128).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    expected = [scale * side for side in (30, 90, 40, 100)]
    found = [rows[0], rows[-1] + 1, columns[0], columns[-1] + 1]
    assert np.abs(np.subtract(found, expected)).max() <= 3


def test_instances_differ_in_colour_and_classes_do_when_asked() -> None:
    boxes = [(10, 30, 60, 90), (90, 30, 140, 90)]
    by_instance = draw(grey_image(), detections(boxes), NAMES, BARE)
    by_class = draw(grey_image(), detections(boxes), NAMES, style_with(colour_by="class"))
    assert (by_instance[60, 30] != by_instance[60, 110]).any()
    assert (by_class[60, 30] == by_class[60, 110]).all()


def test_masks_at_the_border_and_empty_ones_are_drawn() -> None:
    found = detections([(0, 0, 160, 120), (150, 110, 160, 120), (5, 5, 5, 5)])
    drawn = draw(grey_image(), found, NAMES)
    assert drawn.shape == (120, 160, 3)


def test_nothing_found_is_the_image() -> None:
    image = grey_image()
    assert (draw(image, detections([]), NAMES) == image).all()


def test_one_pixel_is_an_image() -> None:
    image = np.zeros((1, 1, 3), dtype=np.uint8)
    found = detections([(0, 0, 1, 1)], height=1, width=1)
    assert draw(image, found, NAMES, DrawingStyle(scale=0.1)).shape == (1, 1, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale": 0.0},
        {"scale": float("nan")},
        {"opacity": 1.1},
        {"threshold": -0.1},
        {"background": "blue"},
        {"colour_by": "size"},
    ],
)
def test_a_style_that_cannot_be_meant_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong)).replace("_", "[ -]")):
        DrawingStyle(**wrong)  # type: ignore[arg-type]


def test_detections_of_another_image_are_refused() -> None:
    found = detections([(4, 3, 10, 9)], height=60, width=80)
    with pytest.raises(ValueError, match="60 × 80"):
        draw(grey_image(), found, NAMES)


def test_classes_without_a_name_are_refused() -> None:
    with pytest.raises(ValueError, match="class 1"):
        draw(grey_image(), detections([(4, 3, 10, 9)], classes=[1]), ("cat",))


@pytest.mark.parametrize(
    ("score", "text"), [(1.0, "100%"), (0.9999, "99%"), (0.5, "50%"), (0.004, "0%")]
)
def test_no_score_is_rounded_up_to_certainty(score: float, text: str) -> None:
    assert percent(score) == text


def style_with(**changes: object) -> DrawingStyle:
    values = {"boxes": False, "labels": False, "threshold": 0.0, **changes}
    return DrawingStyle(**values)  # type: ignore[arg-type]


def grey_image() -> npt.NDArray[np.uint8]:
    return np.full((120, 160, 3), 128, dtype=np.uint8)


def detections(
    boxes: list[tuple[int, int, int, int]],
    *,
    scores: list[float] | None = None,
    classes: list[int] | None = None,
    with_masks: bool = True,
    height: int = 120,
    width: int = 160,
) -> Detections:
    """Boxes whose masks fill them."""
    return Detections(
        image_id=1,
        boxes_xyxy_px=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        scores=np.array(scores or [0.9] * len(boxes), dtype=np.float32),
        class_index=np.array(classes or [0] * len(boxes), dtype=np.int64),
        masks=tuple(filled(box, height, width) for box in boxes) if with_masks else None,
    )


def filled(box: tuple[int, int, int, int], height: int, width: int) -> Rle:
    x1, y1, x2, y2 = box
    region = np.ones((y2 - y1, x2 - x1), dtype=bool)
    return encode_region(region, top_px=y1, left_px=x1, height_px=height, width_px=width)
