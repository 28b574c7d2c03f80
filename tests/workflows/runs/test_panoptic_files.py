"""Maps of segments in a run folder: their names."""

from __future__ import annotations

import pytest

from harness.core.dataset import ImageRecord
from harness.workflows.runs.panoptic_files import map_names


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("a.jpg", "d/b c.jpg"), ("a.png", "b c.png")),
        (("名.jpg", "b.x.jpg"), ("名.png", "b.x.png")),
        (("d/a.jpg", "e/a.jpg"), ("7.png", "8.png")),
        (("a.jpg", "a\nb.jpg"), ("7.png", "8.png")),
        (("a.jpg", "a\rb.jpg"), ("7.png", "8.png")),
        (("a.jpg", "a\u2028b.jpg"), ("7.png", "8.png")),
        (("a.jpg", "\x1b[31mb.jpg"), ("7.png", "8.png")),
        (("a.jpg", f"{'b' * 251}.jpg"), ("7.png", "8.png")),
        (("a.jpg", f"{'名' * 70}.jpg"), ("7.png", "8.png")),
        (("a.jpg", f"{'b' * 150}.jpg"), ("a.png", f"{'b' * 150}.png")),
    ],
)
def test_a_map_has_the_name_of_its_image_where_it_can(
    names: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    images = [ImageRecord(number, name, 2, 2) for number, name in enumerate(names, start=7)]
    assert tuple(map_names(images).values()) == expected
