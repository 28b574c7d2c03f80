"""What is recorded: networks with seeded weights on generated pictures, small enough for any CI."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.architecture import Architecture
from harness.core.detections import Detections, Image
from harness.core.panoptic import PanopticMap, Segment
from harness.core.run_lengths import Rle
from harness.data.proposals import generated_proposals
from harness.data.synthetic import scene
from harness.zoo.architectures import architecture_of

FOLDER = Path(__file__).parent

#: Values kept of each stage, at places drawn from a fixed seed.
KEPT = 24

#: Name → architecture of the zoo and its shorter test size in px (800 would take CI minutes).
NETWORKS = {
    "mask_rcnn_R_50_FPN": 320,
    "mask_rcnn_R_101_FPN": 256,
    "faster_rcnn_R_50_FPN": 320,
    "keypoint_rcnn_R_50_FPN": 256,
    "retinanet_R_50_FPN": 256,
}


#: Fewer detections where each has many numbers.
MOST_DETECTIONS = {"keypoint_rcnn_R_50_FPN": 24}


def network(name: str) -> Architecture:
    """The architecture of a case."""
    short_edge_px, published = NETWORKS[name], architecture_of(name)
    return replace(
        published,
        max_detections=MOST_DETECTIONS.get(name, published.max_detections),
        short_edge_px=short_edge_px,
        long_edge_max_px=short_edge_px * 1333 // 800,
    )


def pictures() -> list[Image]:
    """Two generated scenes, the same on every machine."""
    return [
        Image(
            image_id=number,
            pixels_bgr=np.ascontiguousarray(
                scene(np.random.Generator(np.random.PCG64(number)), number)[0][:, :, ::-1]
            ),
        )
        for number in (1, 2)
    ]


def pictures_for(architecture: Architecture) -> list[Image]:
    """The same with region proposals, where the network has to be given some."""
    if not architecture.given_proposals:
        return pictures()
    return [replace(one, proposals_xyxy_px=generated_proposals(one)) for one in pictures()]


def kept_values(stage: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """KEPT values of a stage, and the root mean square of all of it."""
    flat = stage.astype(np.float64).ravel()
    places = np.random.Generator(np.random.PCG64(flat.size)).integers(flat.size, size=KEPT)
    return np.append(flat[places], np.sqrt(np.mean(flat**2)))


def plain_detections(found: Detections) -> dict[str, Any]:
    """Detections as JSON; float32 survives the way there and back."""
    return {
        "boxes": found.boxes_xyxy_px.tolist(),
        "scores": found.scores.tolist(),
        "classes": found.class_index.tolist(),
        "masks": None if found.masks is None else [mask.counts for mask in found.masks],
        **({} if found.keypoints is None else {"keypoints": found.keypoints.tolist()}),
        **({} if found.panoptic is None else {"panoptic": plain_map(found.panoptic)}),
    }


def plain_map(found: PanopticMap) -> dict[str, Any]:
    """A map of segments as JSON: the lengths of its runs, row by row, and the numbers in them."""
    flat = found.ids.ravel()
    starts = np.flatnonzero(np.concatenate(([True], flat[1:] != flat[:-1])))
    return {
        "runs": np.diff(np.append(starts, flat.size)).tolist(),
        "ids": flat[starts].tolist(),
        "segments": [[one.segment_id, one.is_thing, one.class_index] for one in found.segments],
    }


def map_of(plain: dict[str, Any], image: Image) -> PanopticMap:
    """The way back; scores are not kept."""
    ids = np.repeat(np.array(plain["ids"], dtype=np.int32), plain["runs"])
    return PanopticMap(
        ids=ids.reshape(image.height_px, image.width_px),
        segments=tuple(
            Segment(segment_id=number, is_thing=is_thing, class_index=index)
            for number, is_thing, index in plain["segments"]
        ),
    )


def classes_of_pixels(found: PanopticMap) -> npt.NDArray[np.int64]:
    """(H, W): what each pixel is; things from 1000, stuff from 1, 0 for nothing."""
    table = np.zeros(len(found.segments) + 1, dtype=np.int64)
    for one in found.segments:
        table[one.segment_id] = one.class_index + 1000 * one.is_thing
    classes: npt.NDArray[np.int64] = table[found.ids]
    return classes


def detections_of(plain: dict[str, Any], image: Image) -> Detections:
    """The way back."""
    masks, points = plain["masks"], plain.get("keypoints")
    return Detections(
        image_id=image.image_id,
        boxes_xyxy_px=np.array(plain["boxes"], dtype=np.float32).reshape(-1, 4),
        scores=np.array(plain["scores"], dtype=np.float32),
        class_index=np.array(plain["classes"], dtype=np.int64),
        masks=None
        if masks is None
        else tuple(Rle(image.height_px, image.width_px, counts) for counts in masks),
        keypoints=None if points is None else np.array(points, dtype=np.float32),
        panoptic=map_of(plain["panoptic"], image) if "panoptic" in plain else None,
    )


def read_golden(name: str) -> Any:
    """What was recorded under ``name``."""
    return json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
