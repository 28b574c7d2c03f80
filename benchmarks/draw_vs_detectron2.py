"""Drawing: ours against Detectron2's Visualizer, the same detections on the same images, in turn.

    python benchmarks/draw_vs_detectron2.py --annotations instances.json --images photos

The detections are the annotated objects with seeded scores. Both begin with the decoded image and
end with the drawn one in memory; masks come as each side's network hands them over: run lengths
here, full-size bitmaps there. Detectron2 has to be installed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.pairs import Apart, compared, in_turn, keep
from harness.core.detections import Detections
from harness.core.run_lengths import decode
from harness.data.coco import dataset_of, read_annotations
from harness.data.images import load_image
from harness.measure.masks import rle_of
from harness.visualization.overlays import DrawingStyle, draw

Ways = Mapping[str, Callable[[], object]]

#: What is drawn: with the image's colours, and with those of the ground taken away.
GROUNDS = ("colour", "grey")


def main() -> None:
    """Time both on every image, print and keep medians by ground."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    options = (asked.annotations, asked.images, asked.count)
    counts = [len(detections) for _, detections, _ in _cases(*options)]
    found = {}
    with Apart(our_ways, *options) as ours, Apart(their_ways, *options) as theirs:
        for ground in GROUNDS:
            columns: tuple[list[float], list[float]] = ([], [])
            for number in range(len(counts)):
                name = f"{ground} {number}"
                pair = in_turn([ours.way(name), theirs.way(name)], asked.repeats)
                columns[0].extend(pair[0])
                columns[1].extend(pair[1])
            found[ground] = compared(*columns)
    settings = {
        "images": len(counts),
        "objects_mean": round(sum(counts) / len(counts), 1),
        "repeats": asked.repeats,
    }
    keep({"settings": settings, "grounds": found}, asked.output)


def our_ways(annotations: Path, images: Path, count: int) -> Ways:
    """``harness.visualization.overlays``."""
    return {
        f"{ground} {number}": partial(
            draw, pixels, detections, names, DrawingStyle(background=ground)
        )
        for number, (pixels, detections, names) in enumerate(_cases(annotations, images, count))
        for ground in GROUNDS
    }


def their_ways(annotations: Path, images: Path, count: int) -> Ways:
    """Detectron2's Visualizer, as its demo calls it."""
    import torch
    from detectron2.data import MetadataCatalog
    from detectron2.structures import Boxes, Instances
    from detectron2.utils.visualizer import ColorMode, Visualizer

    ways: dict[str, Callable[[], object]] = {}
    for number, (pixels, detections, names) in enumerate(_cases(annotations, images, count)):
        metadata = MetadataCatalog.get("drawn").set(thing_classes=names)
        instances = Instances(pixels.shape[:2])
        instances.pred_boxes = Boxes(torch.from_numpy(detections.boxes_xyxy_px))
        instances.scores = torch.from_numpy(detections.scores)
        instances.pred_classes = torch.from_numpy(detections.class_index)
        masks = [decode(mask) for mask in detections.masks or ()]
        instances.pred_masks = torch.from_numpy(np.stack(masks))

        def way(pixels: Any, instances: Any, mode: Any, metadata: Any = metadata) -> object:
            visualizer = Visualizer(pixels[:, :, ::-1], metadata, instance_mode=mode)
            return visualizer.draw_instance_predictions(instances).get_image()[:, :, ::-1]

        ways[f"colour {number}"] = partial(way, pixels, instances, ColorMode.IMAGE)
        ways[f"grey {number}"] = partial(way, pixels, instances, ColorMode.IMAGE_BW)
    return ways


def _cases(annotations: Path, images: Path, count: int) -> list[tuple[Any, Detections, list[str]]]:
    """(pixels, detections, class names) of the first images that have objects."""
    content = read_annotations(annotations)
    dataset = dataset_of(content, annotations, images)
    index = {one.category_id: place for place, one in enumerate(dataset.categories)}
    names = [one.name for one in dataset.categories]
    cases = []
    for record in dataset.images:
        rows = [
            row
            for row in content["annotations"]
            if row["image_id"] == record.image_id and row.get("segmentation")
        ]
        if not rows or len(cases) == count:
            continue
        boxes = np.array([row["bbox"] for row in rows], dtype=np.float32)
        boxes[:, 2:] += boxes[:, :2]
        size = (record.height_px, record.width_px)
        random = np.random.default_rng(record.image_id)
        detections = Detections(
            image_id=record.image_id,
            boxes_xyxy_px=boxes,
            scores=np.sort(random.uniform(0.5, 1.0, len(rows)))[::-1].astype(np.float32),
            class_index=np.array([index[row["category_id"]] for row in rows], dtype=np.int64),
            masks=tuple(rle_of(row["segmentation"], *size) for row in rows),
        )
        cases.append((load_image(record, images).pixels_bgr, detections, names))
    return cases


if __name__ == "__main__":
    main()
