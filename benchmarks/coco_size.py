"""Time and memory of an evaluation and of a training's dry run on data sets of COCO's size.

    python benchmarks/coco_size.py eval  --folder /tmp/coco_size
    python benchmarks/coco_size.py train --folder /tmp/coco_size --checkout OLDER --checkout .
    python benchmarks/coco_size.py score --folder /tmp/coco_size --checkout OLDER --checkout .
    python benchmarks/coco_size.py analyze --folder /tmp/coco_size --checkout OLDER --checkout .

``eval`` is ``harness eval --engine fake`` on as many images and objects as val2017 has: no network
is computed, what is measured is everything around it. ``train`` is ``harness train --dry-run`` on
as many as train2017 has, with the embedded network. ``score`` is ``harness score`` of DETECTIONS
boxes and masks in each image of val2017's number, a third of them near an object, and ``analyze``
is ``harness analyze`` of the same. The data are generated once below ``--folder``; all images are
links to a few grey ones. Every ``--checkout`` is measured in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from pycocotools import mask

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.pairs import keep

HEIGHT, WIDTH, CATEGORIES = 480, 640, 80

#: Images and objects of val2017 and train2017.
VAL, TRAIN = (5_000, 36_781), (118_287, 860_001)
SIZES = {"eval": VAL, "train": TRAIN, "score": VAL, "analyze": VAL}

#: Detections an image, and the share of them that are an object, moved by a twentieth of its size.
DETECTIONS, NEAR = 60, 0.35

#: Different shapes of objects.
SHAPES = 2_000

#: Points of an outline: with 22 the larger file has train2017's 450 MB.
POINTS = 22

#: A file system allows some ten thousand links to one file.
LINKS = 10_000


class Spent(NamedTuple):
    """Time of a command, and the peak resident memory of its largest process."""

    seconds: float
    processor_s: float
    peak_bytes: int


def generate(folder: Path, images: int, objects: int) -> None:
    """Write ``annotations.json`` and ``images/`` into ``folder``, unless they are there."""
    if (folder / "annotations.json").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "images").mkdir(parents=True)
    for number in range(images):
        source = folder / "images" / _name(number - number % LINKS)
        if number % LINKS == 0:
            Image.new("RGB", (WIDTH, HEIGHT), (128, 128, 128)).save(source, quality=50)
        else:
            os.link(source, folder / "images" / _name(number))
    draft = folder / "annotations.tmp"
    with draft.open("w", encoding="utf-8") as file:
        file.write('{"images": ')
        json.dump([_image(number) for number in range(images)], file)
        file.write(', "categories": ')
        json.dump([{"id": n, "name": f"category {n}"} for n in range(1, CATEGORIES + 1)], file)
        file.write(', "annotations": [')
        file.writelines(_rows(images, objects))
        file.write("]}\n")
    draft.rename(folder / "annotations.json")


def _name(number: int) -> str:
    return f"{number + 1:012}.jpg"


def _image(number: int) -> dict[str, Any]:
    return {"id": number + 1, "file_name": _name(number), "height": HEIGHT, "width": WIDTH}


def _rows(images: int, objects: int) -> Iterator[str]:
    """Rows of annotations as text; shapes are drawn once and repeated, which takes seconds."""
    random = np.random.Generator(np.random.PCG64(1))
    shapes = [json.dumps(_shape(random))[1:] for _ in range(min(SHAPES, objects))]
    owners = random.integers(1, images + 1, objects).tolist()
    for number, owner in enumerate(owners):
        shape = shapes[number % len(shapes)]
        yield (", " if number else "") + f'{{"id": {number + 1}, "image_id": {owner}, {shape}'


def _shape(random: np.random.Generator) -> dict[str, Any]:
    """A star-shaped outline of 22 points, two decimals a coordinate, as COCO's have."""
    angles = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)
    circle = np.stack((np.cos(angles), np.sin(angles)), axis=1)
    sides = np.exp(random.normal(np.log(60), 0.9, 2)).clip(8, 460)
    corner = random.uniform(0, [WIDTH, HEIGHT] - sides)
    points = corner + sides * (0.5 + circle * random.uniform(0.35, 0.5, (POINTS, 1)))
    box = [*points.min(axis=0), *(points.max(axis=0) - points.min(axis=0))]
    return {
        "category_id": int(random.integers(1, CATEGORIES + 1)),
        "bbox": [round(float(value), 2) for value in box],
        "area": round(float(sides.prod()) * 0.6, 4),
        "iscrowd": 0,
        "segmentation": [[round(float(value), 2) for value in points.ravel()]],
    }


def predict(folder: Path) -> None:
    """Write ``predictions.json`` into a generated ``folder``, unless it is there."""
    target = folder / "predictions.json"
    if target.exists():
        return
    content = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    random = np.random.Generator(np.random.PCG64(2))
    objects, own = content["annotations"], defaultdict(list)
    for one in objects:
        own[one["image_id"]].append(one)
    texts: dict[str, str] = {}
    draft = folder / "predictions.tmp"
    with draft.open("w", encoding="utf-8") as file:
        for number, image in enumerate(content["images"]):
            near = own[image["id"]] or objects[:1]
            chosen = random.choice(len(near), int(DETECTIONS * NEAR))
            others = random.choice(len(objects), DETECTIONS - len(chosen))
            rows = [near[i] for i in chosen] + [objects[i] for i in others]
            found = [_found(image["id"], one, random, texts) for one in rows]
            file.write(("," if number else "[") + json.dumps(found)[1:-1])
        file.write("]")
    draft.rename(target)


def _found(
    image_id: int, row: dict[str, Any], random: np.random.Generator, texts: dict[str, str]
) -> dict[str, Any]:
    """A prediction with the outline of an object; ``texts`` has the masks of known outlines."""
    outline = json.dumps(row["segmentation"])
    if outline not in texts:
        whole = mask.merge(mask.frPyObjects(row["segmentation"], HEIGHT, WIDTH))
        texts[outline] = whole["counts"].decode("ascii")
    x, y, width, height = row["bbox"]
    moved = random.normal(0, 0.05, 2) * (width, height)
    kind = row["category_id"] if random.random() < 0.8 else int(random.integers(1, CATEGORIES + 1))
    return {
        "image_id": image_id,
        "category_id": kind,
        "bbox": [round(x + moved[0], 2), round(y + moved[1], 2), width, height],
        "score": round(float(random.random()), 6),
        "segmentation": {"size": [HEIGHT, WIDTH], "counts": texts[outline]},
    }


def words_of(kind: str, data: Path, output: Path) -> list[str]:
    """The command line that is measured."""
    annotations, images = str(data / "annotations.json"), str(data / "images")
    if kind == "eval":
        words = ["eval", "--engine", "fake", "--model", "R_50_FPN_3x", "--output", str(output)]
        return [*words, "--annotations", annotations, "--images", images]
    if kind in ("score", "analyze"):
        return [
            kind,
            "--predictions",
            str(data / "predictions.json"),
            "--annotations",
            annotations,
        ]
    words = ["train", "--dry-run", "--model", "tiny", "--init", "none", "--batch-size", "2"]
    words += ["--train-annotations", annotations, "--train-images", images]
    return [*words, "--val-annotations", annotations, "--val-images", images]


def measured(words: list[str], checkout: Path, folder: Path) -> Spent:
    """``harness`` of ``checkout`` with these words, run in ``folder``."""
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve()), "PYTHONSAFEPATH": "1"}
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    complaints = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        sys.exit(f"{' '.join(words)}\n{complaints.decode('utf-8', 'replace')}")
    processor_s = usage.ru_utime + usage.ru_stime
    return Spent(time.perf_counter() - begun, processor_s, usage.ru_maxrss * 1024)


def main() -> None:
    """Generate, run the command of every checkout in turn, print and keep the medians."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kind", choices=SIZES)
    parser.add_argument("--folder", type=Path, required=True, help="where the data are kept")
    parser.add_argument("--images", type=int, help="default: as many as COCO has")
    parser.add_argument("--objects", type=int, help="default: as many as COCO has")
    parser.add_argument("--checkout", type=Path, action="append", help="default: this one")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    images, objects = asked.images or SIZES[asked.kind][0], asked.objects or SIZES[asked.kind][1]
    checkouts = asked.checkout or [Path(__file__).resolve().parents[1]]
    same = "train" if asked.kind == "train" else "eval"
    data = (asked.folder / f"{same}-{images}-{objects}").absolute()
    generate(data, images, objects)
    if asked.kind in ("score", "analyze"):
        predict(data)
    spent: dict[str, list[Spent]] = {str(one): [] for one in checkouts}
    for _ in range(asked.repeats):
        for one in checkouts:
            with tempfile.TemporaryDirectory(dir=asked.folder) as scratch:
                words = words_of(asked.kind, data, Path(scratch).absolute() / "run")
                spent[str(one)].append(measured(words, one, Path(scratch)))
    result = {
        "settings": {
            "repeats": asked.repeats,
            "images": images,
            "objects": objects,
            "annotations_bytes": (data / "annotations.json").stat().st_size,
        },
        "checkouts": {
            name: {
                "median_s": statistics.median(one.seconds for one in found),
                "processor_s": statistics.median(one.processor_s for one in found),
                "peak_bytes": statistics.median(one.peak_bytes for one in found),
            }
            for name, found in spent.items()
        },
    }
    keep(result, asked.output)


if __name__ == "__main__":
    main()
