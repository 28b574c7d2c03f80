"""Networks of other kinds behind a real server: maps of segments with own stuff, keypoints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from harness.core.dataset import Category
from harness.core.engine import Engine
from harness.core.panoptic import PanopticMap, Segment
from harness.core.requests.loading import ServeRequest
from harness.core.run_lengths import Rle, decode
from harness.data.categories import COCO_STUFF
from harness.engines.native import open_native
from harness.serve.engine_thread import EngineThread
from harness.serve.responses import segments_of
from harness.serve.server import find_served
from harness.serve.service import Service
from harness.zoo.architectures import architecture_of
from tests.composing import composed
from tests.conftest import Seeded
from tests.panoptic_data import write_panoptic_data
from tests.serve.conftest import running, sent


@contextmanager
def served(**fields: Any) -> Iterator[str]:
    """The address of a server of a real network, whose input is small to save time."""
    request = composed(ServeRequest, quiet=True, **fields)
    model = find_served(request)
    small = replace(model.architecture, short_edge_px=128, long_edge_max_px=213, max_detections=20)

    def opened() -> Engine:
        weights = request.network.weights
        assert weights is not None
        return open_native(architecture=small, weights=weights, device="cpu", threads=1)

    with running(Service(request, model, EngineThread(opened, request.queue))) as url:
        yield url


def test_all_stuff_is_listed_and_things_that_score_enough() -> None:
    ids = np.zeros((4, 6), dtype=np.int32)
    ids[:2], ids[2, :3], ids[3, :2] = 1, 2, 3
    found = PanopticMap(
        ids=ids,
        segments=(
            Segment(segment_id=2, is_thing=True, class_index=1, score=0.9),
            Segment(segment_id=3, is_thing=True, class_index=0, score=0.4),
            Segment(segment_id=1, is_thing=False, class_index=2),
        ),
        stuff=(Category(category_id=200, name="sky"), Category(category_id=201, name="sand")),
    )
    things = (Category(category_id=7, name="cat"), Category(category_id=9, name="dog"))
    listed = segments_of(found, things, 0.5)
    assert listed is not None
    assert [(one.segment_id, one.category, one.isthing, one.area_px) for one in listed] == [
        (2, "dog", True, 3),
        (1, "sand", False, 12),
    ]
    assert [one.category_id for one in listed] == [9, 201]
    assert [one.score for one in listed] == [0.9, None]
    mask = listed[0].segmentation
    assert (decode(Rle(*mask.size, mask.counts)) == (ids == 2)).all()
    assert segments_of(None, things, 0.5) is None


@pytest.mark.slow
def test_stuff_of_ones_own_is_in_both_answers(
    seeded: Seeded, embedded_root: Path, tmp_path: Path
) -> None:
    images = write_panoptic_data(tmp_path, images=2, root=embedded_root)
    content = json.loads((tmp_path / "panoptic.json").read_text("utf-8"))
    kinds = [{"id": 300 + number, "name": f"own {number}", "isthing": 0} for number in range(3)]
    content["categories"] = [one for one in content["categories"] if one["isthing"]] + kinds
    stuff = {one.category_id for one in COCO_STUFF}
    for row in content["annotations"]:
        for segment in row["segments_info"]:
            if segment["category_id"] in stuff:
                segment["category_id"] = 300 + segment["category_id"] % 3
    (tmp_path / "panoptic.json").write_text(json.dumps(content), "utf-8")
    own = replace(architecture_of("panoptic_fpn_R_50"), semantic_classes=4)
    picture = sorted(images.iterdir())[0].read_bytes()
    with served(
        model="panoptic_fpn_R_50_3x",
        weights=seeded(own),
        annotations=tmp_path / "instances.json",
        panoptic=tmp_path / "panoptic.json",
    ) as url:
        answer = sent(url, picture, params={"format": "json", "threshold": 0.05})
        assert answer.status_code == 200, answer.text
        drawn = sent(url, picture, params={"format": "png", "threshold": 0.05})
    (one,) = answer.json()["pictures"]
    listed = one["segments"]
    names = {segment["category"] for segment in listed if not segment["isthing"]}
    assert names
    assert names <= {"own 0", "own 1", "own 2"}
    masks = [
        decode(Rle(*each["segmentation"]["size"], each["segmentation"]["counts"]))
        for each in listed
    ]
    assert [int(mask.sum()) for mask in masks] == [each["area_px"] for each in listed]
    assert np.sum(masks, axis=0).max() == 1, "a pixel is of one segment"
    original = np.asarray(PillowImage.open(BytesIO(picture)).convert("RGB"))
    painted = np.asarray(PillowImage.open(BytesIO(drawn.content)).convert("RGB"))
    largest = masks[int(np.argmax([mask.sum() for mask in masks]))]
    assert (original[largest] != painted[largest]).any(axis=1).mean() > 0.9


@pytest.mark.slow
def test_keypoints_are_in_both_answers(seeded: Seeded, embedded_folder: Path) -> None:
    weights = seeded(architecture_of("keypoint_rcnn_R_50_FPN"))
    picture = sorted((embedded_folder / "images").iterdir())[0].read_bytes()
    settings = {"boxes": False, "labels": False, "opacity": 0}
    with served(model="keypoint_rcnn_R_50_FPN_1x", weights=weights) as url:
        answer = sent(url, picture, params={"format": "json", "threshold": 0.05})
        assert answer.status_code == 200, answer.text
        drawn = sent(url, picture, params={"format": "png", "threshold": 0.05, **settings})
    (one,) = answer.json()["pictures"]
    assert one["detections"]
    assert one["segments"] is None
    assert {len(each["keypoints"]) for each in one["detections"]} == {51}
    original = np.asarray(PillowImage.open(BytesIO(picture)).convert("RGB"))
    painted = np.asarray(PillowImage.open(BytesIO(drawn.content)).convert("RGB"))
    assert (original != painted).any()
