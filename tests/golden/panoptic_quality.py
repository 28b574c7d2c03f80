"""Generated maps, true and predicted, whose qualities were recorded from panopticapi.

    PYTHONPATH=PANOPTICAPI python -m tests.golden.panoptic_quality

Run it where https://github.com/cocodataset/panopticapi (7bb4655548f98f3fedc07bf37e9040a992b054b0)
can be imported; what is committed stands for it where it cannot.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.panoptic import png_of
from tests.golden.cases import FOLDER

NAME = "panoptic_quality"

#: The same, with a true segment in every other image that is not listed, and one without a pixel.
ODD_NAME = "panoptic_quality_odd"

#: Things 1, 2, 5 and 7; stuff 92, 93 and 200. No map has a segment of 7 or 200.
THINGS, STUFF = (1, 2, 5), (92, 93)
CATEGORIES = [
    *({"id": one, "name": f"thing {one}", "isthing": 1} for one in (*THINGS, 7)),
    *({"id": one, "name": f"stuff {one}", "isthing": 0} for one in (*STUFF, 200)),
]

SIZE = (60, 80)
IMAGES = 12


def rectangles(random: np.random.Generator, count: int, first: int) -> tuple[Any, list[Any]]:
    """A map of overlapping rectangles, numbered as a file of COCO's may be, and its segments."""
    ids = np.zeros(SIZE, dtype=np.int32)
    segments = []
    for number in range(count):
        top, left = random.integers(0, SIZE[0] - 20), random.integers(0, SIZE[1] - 20)
        height, width = random.integers(12, 40, 2)
        ids[top : top + height, left : left + width] = first + 1000 * number
        category = int(random.choice(THINGS + STUFF))
        crowd = int(category in THINGS and random.random() < 0.2)
        segments.append({"id": first + 1000 * number, "category_id": category, "iscrowd": crowd})
    return ids, listed(ids, segments)


def listed(ids: Any, segments: list[Any]) -> list[Any]:
    """The segments that a map has a pixel of, with their areas."""
    areas = {one["id"]: int((ids == one["id"]).sum()) for one in segments}
    return [{**one, "area": areas[one["id"]]} for one in segments if areas[one["id"]]]


def predicted(random: np.random.Generator, ids: Any, segments: list[Any]) -> tuple[Any, list[Any]]:
    """The map moved by a few pixels, some categories wrong, some segments split or left out."""
    moved = np.roll(ids, tuple(random.integers(-4, 5, 2)), axis=(0, 1))
    found = np.zeros_like(moved)
    kept = []
    for number, one in enumerate(segments, start=1):
        chance = random.random()
        if chance < 0.15:
            continue
        found[moved == one["id"]] = number
        category = int(random.choice(THINGS + STUFF)) if chance > 0.8 else one["category_id"]
        kept.append({"id": number, "category_id": category})
    extra = 100
    found[: int(random.integers(1, 15)), :30] = extra
    kept.append({"id": extra, "category_id": int(random.choice(THINGS))})
    return found, [{k: v for k, v in one.items() if k != "area"} for one in listed(found, kept)]


def write_case(folder: Path, *, odd: bool = False) -> None:
    """Write ``truth.json``, ``found.json`` and the folders of their PNGs.

    Args:
        folder: Where they go.
        odd: Whether in every other image a true segment is not listed, and another has no pixel.
    """
    random = np.random.Generator(np.random.PCG64(20))
    files: dict[str, list[Any]] = {"truth": [], "found": []}
    for image in range(1, IMAGES + 1):
        truth, segments = rectangles(random, int(random.integers(3, 9)), first=image * 65_600)
        found, answers = predicted(random, truth, segments)
        if odd and image % 2:
            segments = [*segments[1:], {"id": 5, "category_id": 2, "iscrowd": 0, "area": 30}]
        for name, ids, rows in (("truth", truth, segments), ("found", found, answers)):
            (folder / name).mkdir(exist_ok=True)
            (folder / name / f"{image}.png").write_bytes(png_of(ids))
            files[name].append(
                {"image_id": image, "file_name": f"{image}.png", "segments_info": rows}
            )
    for name, rows in files.items():
        content = {"annotations": rows, "categories": CATEGORIES}
        (folder / f"{name}.json").write_text(json.dumps(content), "utf-8")


def by_panopticapi(folder: Path) -> dict[str, Any]:
    """What panopticapi makes of a written case."""
    from panopticapi.evaluation import pq_compute_single_core

    files = {
        name: json.loads((folder / f"{name}.json").read_text("utf-8"))["annotations"]
        for name in ("truth", "found")
    }
    categories = {one["id"]: one for one in CATEGORIES}
    pairs = list(zip(files["truth"], files["found"], strict=True))
    places = (str(folder / "truth"), str(folder / "found"))
    counts = pq_compute_single_core(0, pairs, *places, categories)
    parts = {"All": None, "Things": True, "Stuff": False}
    averages = {name: counts.pq_average(categories, part) for name, part in parts.items()}
    return {
        **{name: average for name, (average, _) in averages.items()},
        "per_class": {str(key): value for key, value in averages["All"][1].items()},
    }


if __name__ == "__main__":
    for name, odd in ((NAME, False), (ODD_NAME, True)):
        with tempfile.TemporaryDirectory() as place:
            write_case(Path(place), odd=odd)
            text = json.dumps(by_panopticapi(Path(place)), indent=1)
        (FOLDER / f"{name}.json").write_text(text + "\n", "utf-8")
