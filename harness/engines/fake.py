"""An engine that returns the ground truth: for tests of everything that is not a network.

It ships with the package so that a run, a crash and a resume can be tried without weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from harness.core.architecture import Architecture
from harness.core.dataset import Dataset
from harness.core.detections import Detections, Image
from harness.core.engine import EngineInfo, Stopwatch
from harness.core.panoptic import UNKNOWN, PanopticMap, PanopticTruth, Segment
from harness.core.run_lengths import Rle
from harness.data.panoptic import read_ids
from harness.data.semantic import semantic_truths
from harness.measure.masks import rle_of

Behaviour = Literal["perfect", "noisy", "failing", "nan"]


def open_fake(
    dataset: Dataset,
    architecture: Architecture,
    *,
    behaviour: Behaviour = "perfect",
    fail_at_image: int | None = None,
    seed: int = 0,
) -> FakeEngine:
    """Return an engine that knows the annotations of a data set.

    Args:
        dataset: With its ground truth.
        architecture: Decides whether there are masks, and how many detections at most; of a network
            that only proposes regions all are of one class.
        behaviour: ``perfect``: every object that is no crowd, scores falling from 1; an object
            without an outline has an empty mask. ``noisy``: boxes moved by a few per cent, a tenth
            of the objects missed, a tenth found twice. ``failing``: RuntimeError at one image.
            ``nan``: scores that are not numbers.
        fail_at_image: Id of the image at which ``failing`` fails.
        seed: Seed of the random numbers of ``noisy``.
    """
    classed = architecture.detector != "rpn"
    order = {one.category_id: index * classed for index, one in enumerate(dataset.categories)}
    rows: dict[int, list[dict[str, Any]]] = {image: [] for image in dataset.image_ids}
    for row in dataset.ground_truth["annotations"]:
        if row["image_id"] in rows and not row.get("iscrowd", 0):
            rows[row["image_id"]].append({**row, "class_index": order[row["category_id"]]})
    maps = None if dataset.panoptic is None else TrueMaps(dataset.panoptic, order)
    return FakeEngine(
        rows, architecture, behaviour=behaviour, fail_at_image=fail_at_image, seed=seed, maps=maps
    )


class FakeEngine:
    """An engine that returns the ground truth, altered as its behaviour says; see `open_fake`."""

    def __init__(
        self,
        rows: dict[int, list[dict[str, Any]]],
        architecture: Architecture,
        *,
        behaviour: Behaviour = "perfect",
        fail_at_image: int | None = None,
        seed: int = 0,
        maps: TrueMaps | None = None,
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
        self._maps = maps

    def prepare(self, image: Image, stopwatch: Stopwatch) -> Image:
        """Return the image as it is."""
        with stopwatch.phase("resize"):
            return image

    def infer(self, prepared: Sequence[Image], stopwatch: Stopwatch) -> list[Detections]:
        """Return the ground truth of each image, altered as the behaviour says."""
        with stopwatch.phase("forward"):
            return [self._answer(image) for image in prepared]

    def _answer(self, image: Image) -> Detections:
        if self._behaviour == "failing" and image.image_id == self._fail_at_image:
            raise RuntimeError("the fake engine fails here on request")
        found = _truth(self._rows[image.image_id], image)
        if self._behaviour == "noisy":
            random = np.random.default_rng([self._seed, image.image_id % 2**64])
            found = _bent(found, random)
        scores = np.linspace(1.0, 0.5, len(found.masks), dtype=np.float32)
        if self._behaviour == "nan":
            scores[:] = np.nan
        return Detections(
            image_id=image.image_id,
            boxes_xyxy_px=found.boxes_xyxy_px,
            scores=scores,
            class_index=found.class_index,
            masks=found.masks if self.info.architecture.has_masks else None,
            keypoints=found.keypoints if self.info.architecture.keypoint_count else None,
            panoptic=None if self._maps is None else self._maps.of(image),
        )

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def peak_memory_bytes(self) -> int | None:
        """Unknown."""
        return None

    def close(self) -> None:
        """Nothing to free."""


class TrueMaps:
    """The maps of the ground truth, without crowds.

    Args:
        truth: Panoptic annotations.
        order: Class index of each thing, by category id.
    """

    def __init__(self, truth: PanopticTruth, order: Mapping[int, int]) -> None:
        self._folder, self._repair = truth.folder, truth.repair
        self._classes = semantic_truths(truth)
        self._rows = {row["image_id"]: row for row in truth.rows}
        self._things = order
        self._stuff = {one.category_id: place for place, one in enumerate(truth.stuff, start=1)}

    def of(self, image: Image) -> PanopticMap:
        """Return the map of an image; its segments are numbered from 1."""
        row = self._rows[image.image_id]
        ids = read_ids(
            self._folder / row["file_name"], image.pixels_bgr.shape[:2], repair=self._repair
        )
        found, numbers = np.zeros_like(ids), itertools.count(1)
        segments = []
        for one in row["segments_info"]:
            if one.get("iscrowd", 0):
                continue
            category, where = one["category_id"], ids == one["id"]
            if not where.any():
                continue
            is_thing, number = category in self._things, next(numbers)
            found[where] = number
            segments.append(
                Segment(
                    segment_id=number,
                    is_thing=is_thing,
                    class_index=(self._things if is_thing else self._stuff)[category],
                    score=1.0 if is_thing else None,
                )
            )
        classes = self._classes[image.image_id].read(image.pixels_bgr.shape[:2])
        classes[classes == UNKNOWN] = 0
        return PanopticMap(ids=found, segments=tuple(segments), classes=classes)


class _Objects(NamedTuple):
    """Objects of one image."""

    boxes_xyxy_px: npt.NDArray[np.float32]
    """(n, 4) float32."""

    class_index: npt.NDArray[np.int64]
    """(n,) int64."""

    masks: tuple[Rle, ...]
    """n masks of the image's size, or None."""

    keypoints: npt.NDArray[np.float32]
    """(n, K, 3) float32 x, y in px of the image, and 1 as score; K is 0 where no object has any."""


def _truth(rows: Sequence[Mapping[str, Any]], image: Image) -> _Objects:
    """Return the annotated objects of an image."""
    boxes = np.array([row["bbox"] for row in rows], dtype=np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    classes = np.array([row["class_index"] for row in rows], dtype=np.int64)
    size = (image.height_px, image.width_px)
    masks = tuple(rle_of(row.get("segmentation") or [], *size) for row in rows)
    return _Objects(boxes, classes, masks, _keypoints(rows))


def _keypoints(rows: Sequence[Mapping[str, Any]]) -> npt.NDArray[np.float32]:
    """Return the keypoints of objects; one that is not labelled is in the middle of its box."""
    count = max((len(row.get("keypoints") or ()) for row in rows), default=0)
    flat = [row.get("keypoints") or [0.0] * count for row in rows]
    points = np.array(flat, dtype=np.float32).reshape(len(rows), count // 3, 3)
    boxes = np.array([row["bbox"] for row in rows], dtype=np.float32).reshape(-1, 1, 4)
    middles = boxes[..., :2] + boxes[..., 2:] / 2
    # Files count from the middle of the first pixel.
    points[..., :2] = np.where(points[..., 2:] > 0, points[..., :2] + 0.5, middles)
    points[..., 2] = 1.0
    return points


def _bent(truth: _Objects, random: np.random.Generator) -> _Objects:
    """Return the objects as a mediocre network finds them: moved, missed, twice, in any order."""
    count = len(truth.masks)
    times_found = random.choice(3, size=count, p=(0.1, 0.8, 0.1))
    index = random.permutation(np.repeat(np.arange(count), times_found))
    boxes = truth.boxes_xyxy_px[index]
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    moved = boxes + random.normal(0, 0.03, boxes.shape) * sides
    points = truth.keypoints[index]
    points[..., :2] += random.normal(0, 0.03, points[..., :2].shape) * sides[:, None, :2]
    return _Objects(
        moved.astype(np.float32),
        truth.class_index[index],
        tuple(truth.masks[i] for i in index),
        points,
    )
