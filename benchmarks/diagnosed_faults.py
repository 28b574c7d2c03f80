"""How many known faults ``harness diagnose`` names first, singly and in pairs, and how often it
claims one where there is none.

    python benchmarks/diagnosed_faults.py --shared ../shared/data

Real predictions (D2Go's boxes on 206 COCO images, the masks of the official evaluator's fixture)
are broken by ``benchmarks/broken_predictions.py``. Of a pair both have to be named first, in any
order. Healthy files are those predictions, parts of them, and seeded ones.

    python benchmarks/diagnosed_faults.py --shared ../shared/data --held-back

does the same on predictions that no threshold of the catalogue was chosen on: the boxes of the
evaluator's fixture, seeded boxes on its images, a half of D2Go's, and seeded masks on the 206
images, in turn.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.broken_predictions import FAULTS, MASK_FAULTS, Break, Content, Row, of_images
from benchmarks.pairs import keep
from harness.core.run_lengths import decode
from harness.data.coco import read_annotations
from harness.diagnosis.case import Case, rows_of, truth_of
from harness.diagnosis.catalogue import BY_NAME
from harness.diagnosis.findings import Diagnosed, diagnose
from harness.measure.masks import encode_region, rle_of

#: Faults that cannot both be true of one file, or hide each other by their nature.
FORMATS = ("xyxy", "yxyx", "centre", "swapped-axes")


def main() -> None:
    """Break, diagnose, count, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"))
    parser.add_argument("--singles", type=int, help="only the first N faults")
    parser.add_argument("--pairs", type=int, default=345, help="pairs to try, at random")
    parser.add_argument("--held-back", action="store_true", help="on other predictions")
    parser.add_argument("--healthy", type=int, default=20, help="healthy files to try")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    given = box_case(asked.shared), mask_case(asked.shared)
    boxes, masks = held_back(asked.shared, *given) if asked.held_back else ([given[0]], given[1])
    faults = [(one, name, FAULTS[name]) for one in boxes for name in FAULTS]
    faults += [(masks, name, MASK_FAULTS[name]) for name in MASK_FAULTS]
    singles = [named_first(case, {name: fault}) for case, name, fault in faults[: asked.singles]]
    pairs = possible_pairs()
    random = np.random.default_rng(asked.seed)
    chosen = random.choice(len(pairs), min(asked.pairs, len(pairs)), replace=False)
    both = [
        named_first(boxes[turn % len(boxes)], {name: FAULTS[name] for name in pairs[number]})
        for turn, number in enumerate(chosen)
    ]
    files = held_back_healthy(boxes, masks) if asked.held_back else healthy_files(*given)
    healthy = [claims(*one) for one in files[: asked.healthy]]
    keep(
        {
            "settings": {"repeats": 1, "seed": asked.seed, "pairs_possible": len(pairs)}
            | {"held_back": asked.held_back},
            "singly": {"tried": len(singles), "named_first": sum(singles)},
            "in_pairs": {"tried": len(both), "named_first": sum(both)},
            "healthy": {"files": len(healthy), "false_claims": sum(healthy)},
        },
        asked.output,
    )


def say(text: str) -> None:
    """Report progress."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def box_case(shared: Path) -> tuple[Content, list[Row]]:
    """D2Go's boxes on real images."""
    content = read_annotations(shared / "coco" / "annotations" / "instances_val2017.json")
    file = shared / "evaluators" / "d2go" / "d2go_faster_rcnn_int8_bbox_val206.json"
    return content, json.loads(file.read_text())


def mask_case(shared: Path) -> tuple[Content, list[Row]]:
    """The masks of the official evaluator's fixture."""
    folder = shared / "evaluators" / "cocoapi_fake100"
    content = read_annotations(folder / "instances_val2014_100.json")
    file = folder / "instances_val2014_fakesegm100_results.json"
    return content, json.loads(file.read_text())


def held_back(
    shared: Path, boxes: tuple[Content, list[Row]], masks: tuple[Content, list[Row]]
) -> tuple[list[tuple[Content, list[Row]]], tuple[Content, list[Row]]]:
    """Predictions that nothing was tuned on: some of boxes, and some of masks.

    Args:
        shared: Where the fixture of the evaluator is.
        boxes: Of ``box_case``.
        masks: Of ``mask_case``, whose ground truth is used.
    """
    file = shared / "evaluators" / "cocoapi_fake100"
    fixture = json.loads((file / "instances_val2014_fakebbox100_results.json").read_text())
    others = [(masks[0], fixture), (masks[0], seeded(masks[0], 101, spread=0.08, recall=0.8))]
    return [*others, half_of(boxes, 77)], (boxes[0], seeded_masks(boxes[0], 5))


def half_of(case: tuple[Content, list[Row]], seed: int) -> tuple[Content, list[Row]]:
    """Half of the images."""
    content, rows = case
    ids = [one["id"] for one in content["images"]]
    kept = set(np.random.default_rng(seed).choice(ids, len(ids) // 2, replace=False).tolist())
    return of_images(content, list(kept)), [row for row in rows if row["image_id"] in kept]


def held_back_healthy(
    boxes: list[tuple[Content, list[Row]]], masks: tuple[Content, list[Row]]
) -> list[tuple[Content, list[Row]]]:
    """The predictions themselves, and others of the same kinds with other seeds."""
    content = boxes[0][0]
    files = [*boxes, masks, (masks[0], seeded_masks(masks[0], 6))]
    files += [half_of(boxes[0], seed) for seed in range(200, 205)]
    for number in range(10):
        spread, recall = 0.04 + 0.015 * number, 0.97 - 0.06 * number
        truth = content if number % 2 else masks[0]
        files.append((truth, seeded(truth, 300 + number, spread=spread, recall=recall)))
    return files


def possible_pairs() -> list[tuple[str, str]]:
    """Pairs of faults that may be in one file together, the first to be put in first."""
    result = []
    for one, other in itertools.permutations(FAULTS, 2):
        groups = [group_of(one), group_of(other)]
        if FAULTS_ORDER.index(groups[0]) > FAULTS_ORDER.index(groups[1]) or one > other:
            continue
        if groups[0] != groups[1] and not excluded(one, other):
            result.append((one, other))
    return result


#: Rows are left out or repeated before scores, categories and boxes change their meaning.
FAULTS_ORDER = ("annotations", "rows", "scores", "categories", "format", "frame", "images")


def group_of(name: str) -> str:
    """What a fault is one of: of the same group only one is put into a file."""
    plain = name.partition("#")[0]
    group: str = BY_NAME[plain].group
    if plain == "unknown-images":
        return "annotations"
    if group == "boxes":
        return "format" if plain in FORMATS else "frame"
    return group


def excluded(one: str, other: str) -> bool:
    """Whether one fault leaves nothing of the other: equal scores have no cut, say."""
    names = {one.partition("#")[0], other.partition("#")[0]}
    return names >= {"scores-equal", "more-than-100"} or (
        "scores-equal" in names and bool(names & {"nms-missing", "nms-too-hard"})
    )


def named_first(case: tuple[Content, list[Row]], faults: dict[str, Break]) -> bool:
    """Whether the faults are the first that are named, in any order."""
    random = np.random.default_rng(7)
    content, rows = case
    for fault in faults.values():
        content, rows = fault(content, rows, random)
    begun = time.perf_counter()
    found = diagnosed(content, rows)
    names = [one.name for one in found.findings]
    wanted = {name.partition("#")[0] for name in faults}
    good = set(names[: len(wanted)]) == wanted
    say(
        f"{'named ' if good else 'MISSED'} {' + '.join(faults)}: {', '.join(names) or 'nothing'} "
        f"({time.perf_counter() - begun:.1f} s)"
    )
    return good


def claims(content: Content, rows: list[Row]) -> int:
    """How many faults are claimed."""
    found = diagnosed(content, rows)
    if found.findings:
        say(f"CLAIMED {[(one.name, one.details) for one in found.findings]}")
    return len(found.findings)


def diagnosed(content: Content, rows: list[Row]) -> Diagnosed:
    """What is found, with the limit of the command."""
    masked = bool(rows) and "segmentation" in rows[0]
    case = Case(
        rows=rows_of(rows), truth=truth_of(content, ("bbox", "segm") if masked else ("bbox",))
    )
    return diagnose(case, limit_s=120, clock=time.monotonic)


def healthy_files(
    boxes: tuple[Content, list[Row]], masks: tuple[Content, list[Row]]
) -> list[tuple[Content, list[Row]]]:
    """The predictions themselves, half of their images each, and seeded ones."""
    files = [boxes, masks, *(half_of(boxes, seed) for seed in range(10))]
    files += [(boxes[0], seeded(boxes[0], seed)) for seed in range(8)]
    return files


def seeded_masks(content: Content, seed: int) -> list[Row]:
    """The masks of most objects, each moved by some px in a direction of its own."""
    random = np.random.default_rng(seed)
    sizes = {one["id"]: (one["height"], one["width"]) for one in content["images"]}
    rows: list[Row] = []
    for one in content["annotations"]:
        if one["iscrowd"] or random.random() < 0.15:
            continue
        height, width = sizes[one["image_id"]]
        pixels = decode(rle_of(one["segmentation"], height, width))
        most = max(1, int(0.04 * min(one["bbox"][2:])))
        pixels = np.roll(pixels, random.integers(-most, most + 1, 2), axis=(0, 1))
        mask = encode_region(pixels, top_px=0, left_px=0, height_px=height, width_px=width)
        rows.append(
            {
                "image_id": one["image_id"],
                "category_id": one["category_id"],
                "segmentation": {"size": [height, width], "counts": mask.counts},
                "score": float(random.beta(4, 2)),
            }
        )
    return rows


def seeded(
    content: Content, seed: int, *, spread: float | None = None, recall: float | None = None
) -> list[Row]:
    """Predictions near the objects, and others anywhere, as a detector of a certain quality.

    Args:
        content: The annotations.
        seed: The same one gives the same rows.
        spread: Of places and sides, as part of an object's; None for less with a lower seed.
        recall: Part of the objects that are found; None for more with a lower seed.
    """
    random = np.random.default_rng(seed)
    spread = 0.05 + 0.02 * seed if spread is None else spread
    recall = 0.95 - 0.05 * seed if recall is None else recall
    ids = [one["id"] for one in content["categories"]]
    rows: list[Row] = []
    for one in content["annotations"]:
        if random.random() < recall:
            x, y, width, height = one["bbox"]
            shift, grow = random.normal(0, spread, 2), np.exp(random.normal(0, spread, 2))
            box = (x + width * shift[0], y + height * shift[1], width * grow[0], height * grow[1])
            right = random.random() < 0.9
            category = one["category_id"] if right else int(random.choice(ids))
            rows.append(row_of(one["image_id"], category, box, random.beta(4, 2)))
    for image in content["images"]:
        for _ in range(random.poisson(8)):
            width, height = random.uniform(8, image["width"] / 2), random.uniform(8, 200)
            box = (random.uniform(0, image["width"] - width), random.uniform(0, 100), width, height)
            rows.append(row_of(image["id"], int(random.choice(ids)), box, random.beta(1, 6)))
    return rows


def row_of(image: int, category: int, box: tuple[Any, ...], score: float) -> Row:
    """One prediction."""
    sides = [float(side) for side in box]
    return {"image_id": image, "category_id": category, "bbox": sides, "score": float(score)}


if __name__ == "__main__":
    main()
