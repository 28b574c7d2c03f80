"""Annotation files with one to three odd values, as other programs and accidents make them."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

#: Height and width of the images that the files are about, by file name.
SIZES = {"a.png": (20, 30), "b.png": (40, 30), "c.png": (1, 1), "d.png": (1, 50), "e.png": (64, 64)}

SQUARE = [2, 2, 10, 2, 10, 10, 2, 10]


def plain_content() -> dict[str, Any]:
    """A valid file: two objects on each image that is large enough, and one crowd."""
    images = [
        {"id": number, "file_name": name, "height": height, "width": width}
        for number, (name, (height, width)) in enumerate(SIZES.items(), start=1)
    ]
    rows: list[dict[str, Any]] = []
    for image in images:
        for category in (1, 2):
            width, height = min(8, image["width"]), min(8, image["height"])
            x, y = min(2, image["width"] - width), min(2, image["height"] - height)
            box = [x, y, width, height]
            outline = [x, y, x + width, y, x + width, y + height, x, y + height]
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": image["id"],
                    "category_id": category,
                    "bbox": box,
                    "area": width * height,
                    "iscrowd": 0,
                    "segmentation": [outline],
                }
            )
    total = images[0]["height"] * images[0]["width"]
    runs = {"size": [20, 30], "counts": [total - 20, 20]}
    rows.append({**rows[0], "id": 99, "iscrowd": 1, "segmentation": runs})
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    return {"images": images, "annotations": rows, "categories": categories}


def values() -> st.SearchStrategy[Any]:
    """Anything JSON can hold, with what goes wrong more often than chance would have it."""
    numbers = st.sampled_from(
        [0, 1, -1, 2, 0.5, 1.0, 2.0, -3.5, 1e5, 1e7, 1e9, 1e20, 1e200, 1e308, 2**31, 2**53 + 1]
        + [2**63 - 1, -(2**63) + 1, 2**63, 10**400, float("nan"), float("inf"), float("-inf")]
    )
    texts = st.sampled_from(
        ["", "0", "1", "9", "1.0", "a.png", "../a.png", "x" * 300, "\0", "\ud800"]
    )
    leaves = st.none() | st.booleans() | numbers | texts | st.text(max_size=3) | st.integers()
    flat = st.lists(numbers | st.integers(-50, 50), max_size=9)
    masks = st.fixed_dictionaries(
        {
            "size": st.sampled_from([[20, 30], [20.0, 30.0], [30, 20], [0, 0], [20], "20", None]),
            "counts": st.sampled_from(
                [[600], [0, 600], [100, 0, 0, 500], [600.0], [-1, 601], [], "", "hb0", "PPPPPP0"]
                + ["ooooo" * 20, "hPP0", "\u00e9", None, [500, 100.5], [2**40], "0hb00"]
            ),
        }
    )
    lists = flat | st.lists(flat, max_size=3) | st.just([SQUARE, SQUARE[:7]])
    tables = st.dictionaries(st.text(max_size=3), leaves, max_size=2)
    return leaves | lists | masks | tables


KEYS = {
    "images": ("id", "file_name", "height", "width", "license", "extra"),
    "categories": ("id", "name", "supercategory", "keypoints"),
    "annotations": ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation")
    + ("ignore", "score", "attributes", "num_keypoints"),
}


@st.composite
def odd_contents(draw: Any) -> dict[str, Any]:
    """A file in which one to three values are odd, gone, or rows are there twice."""
    content = copy.deepcopy(plain_content())
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(sorted(KEYS)))
        rows = content[kind]
        if not rows:
            continue
        row = rows[draw(st.integers(0, len(rows) - 1))]
        key = draw(st.sampled_from(KEYS[kind]))
        match draw(st.sampled_from(["set", "set", "set", "box", "drop", "twice", "empty"])):
            case "set":
                row[key] = draw(values())
            case "box" if kind == "annotations":
                row["bbox"] = draw(st.lists(values_of_boxes(), min_size=4, max_size=4))
            case "drop":
                row.pop(key, None)
            case "twice":
                rows.append({**row, "id": draw(st.sampled_from([row.get("id"), 1000, -7, 0]))})
            case "empty":
                del rows[draw(st.integers(0, len(rows))) :]
    return content


def values_of_boxes() -> st.SearchStrategy[Any]:
    """Numbers of boxes that are odd and mostly valid."""
    return st.integers(-60, 60) | st.sampled_from([0.25, 1e-9, 1e4, 9e6, -9e6, 1e7 + 1, 0.0, -0.0])
