"""How much of an image is masked: by one object, by several together."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.detections import Rle


def areas_px(masks: Sequence[Rle]) -> list[int]:
    """Pixels of each mask."""
    from pycocotools import mask as coco_mask

    return [int(area) for area in coco_mask.area(_plain(masks))] if masks else []


def union_px(masks: Sequence[Rle]) -> int:
    """Pixels that at least one of the masks, all of one size, covers; 0 for none."""
    from pycocotools import mask as coco_mask

    return int(coco_mask.area(coco_mask.merge(_plain(masks)))) if masks else 0


def _plain(masks: Sequence[Rle]) -> list[dict[str, object]]:
    return [
        {"size": [mask.height_px, mask.width_px], "counts": mask.counts.encode("ascii")}
        for mask in masks
    ]
