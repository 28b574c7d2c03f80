"""An engine that answers from the ground truth: for tests of everything that is not a network.

It ships with the package so that a run, a crash and a resume can be rehearsed without weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from harness.core.architecture import Architecture
from harness.core.dataset import Dataset
from harness.core.detections import Detections, Image, Rle
from harness.core.engine import EngineInfo, Stopwatch
from harness.data.coco import read_annotations

Behaviour = Literal["perfect", "noisy", "failing", "nan"]


def open_fake(
    dataset: Dataset,
    architecture: Architecture,
    *,
    behaviour: Behaviour = "perfect",
    fail_at_image: int | None = None,
    seed: int = 0,
) -> FakeEngine:
    """An engine that knows the annotations of ``dataset``.

    perfect: every object that is no crowd, scores falling from 1. noisy: boxes moved by a few per
    cent, a tenth of the objects missed, seeded. failing: raises at the image ``fail_at_image``.
    nan: a score that is not a number.
    """
    content = read_annotations(dataset.annotations_path)
    order = {category.category_id: index for index, category in enumerate(dataset.categories)}
    rows: dict[int, list[dict[str, Any]]] = {image: [] for image in dataset.image_ids}
    for row in content["annotations"]:
        if row["image_id"] in rows and not row.get("iscrowd", 0):
            rows[row["image_id"]].append({**row, "class_index": order[row["category_id"]]})
    return FakeEngine(rows, architecture, behaviour, fail_at_image, seed)


class FakeEngine:
    """See open_fake."""

    def __init__(
        self,
        rows: dict[int, list[dict[str, Any]]],
        architecture: Architecture,
        behaviour: Behaviour,
        fail_at_image: int | None,
        seed: int,
    ) -> None:
        self.info = EngineInfo(
            name="fake",
            version=behaviour if behaviour != "failing" else "perfect",
            device="none",
            device_class="fake",
            precision="fp32",
            threads=1,
            architecture=architecture,
        )
        self._rows = rows
        self._behaviour = behaviour
        self._fail_at_image = fail_at_image
        self._seed = seed

    def prepare(self, image: Image, stopwatch: Stopwatch) -> Image:
        """The image as it is."""
        with stopwatch.phase("resize"):
            return image

    def infer(self, prepared: Sequence[Image], stopwatch: Stopwatch) -> list[Detections]:
        """The ground truth of each image, bent as the behaviour says."""
        with stopwatch.phase("forward"):
            return [self._answer(image) for image in prepared]

    def _answer(self, image: Image) -> Detections:
        if self._behaviour == "failing" and image.image_id == self._fail_at_image:
            raise RuntimeError("the fake engine was told to fail here")
        rows = self._rows[image.image_id]
        boxes = np.array([row["bbox"] for row in rows], dtype=np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        scores = np.linspace(1.0, 0.5, len(rows), dtype=np.float32)
        kept = np.arange(len(rows))
        if self._behaviour == "noisy":
            random = np.random.default_rng([self._seed, image.image_id])
            sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
            boxes += (random.normal(0, 0.03, boxes.shape) * sides).astype(np.float32)
            kept = np.flatnonzero(random.random(len(rows)) > 0.1)
        if self._behaviour == "nan":
            scores = np.full(len(rows), np.nan, dtype=np.float32)
        masks = None
        if self.info.architecture.has_masks:
            masks = tuple(_rle(rows[index].get("segmentation"), image) for index in kept)
        return Detections(
            image_id=image.image_id,
            boxes_xyxy_px=boxes[kept],
            scores=scores[kept],
            class_index=np.array([rows[index]["class_index"] for index in kept], dtype=np.int64),
            masks=masks,
        )

    def settle(self) -> None:
        """Nothing to wait for."""

    def peak_memory_bytes(self) -> int | None:
        """Unknown."""
        return None

    def close(self) -> None:
        """Nothing to give back."""


def _rle(segmentation: Any, image: Image) -> Rle:
    from pycocotools import mask as coco_mask

    height, width = image.height_px, image.width_px
    match segmentation:
        case {"counts": str() as counts}:
            return Rle(height, width, counts)
        case {"counts": list()}:
            encoded = coco_mask.frPyObjects(segmentation, height, width)
        case _:
            encoded = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    return Rle(height, width, encoded["counts"].decode("ascii"))
