"""What ``POST /predict`` answers when all is well."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image as PillowImage

from harness.core.clock import utc_now
from harness.core.progress import Silent
from harness.core.requests.inference import EvalRequest, InferenceRequest
from harness.core.requests.loading import ServeRequest
from harness.core.run_lengths import Rle, decode
from harness.measure.timing import PhaseTimer
from harness.serve.engine_thread import EngineThread
from harness.serve.server import find_served, open_served
from harness.serve.service import Service
from harness.workflows.evaluation.evaluate import evaluate
from tests.composing import composed
from tests.serve.conftest import LEFT, RIGHT, Scripted, picture_bytes, running, sent

JSON = {"format": "json"}


def described(url: str, *contents: bytes, **settings: Any) -> list[dict[str, Any]]:
    response = sent(url, *contents, params={**JSON, **settings})
    assert response.status_code == 200, response.text
    pictures: list[dict[str, Any]] = response.json()["pictures"]
    return pictures


def opened(response: requests.Response) -> PillowImage.Image:
    assert response.status_code == 200, response.text
    return PillowImage.open(BytesIO(response.content))


def test_a_form_without_more_gets_a_png(scripted: Scripted) -> None:
    url, _ = scripted()
    response = sent(url, picture_bytes())
    picture = opened(response)
    assert response.headers["Content-Type"] == "image/png"
    assert (picture.format, picture.size) == ("PNG", (40, 30))
    assert response.headers["X-Objects"] == "1"
    assert response.headers["X-Masked-Share"] == "0.500000"
    assert "draw;dur=" in response.headers["Server-Timing"]


def test_colours_are_those_of_the_picture(scripted: Scripted) -> None:
    url, _ = scripted()
    picture = opened(sent(url, picture_bytes(), params={"threshold": 0.95}))
    assert picture.convert("RGB").getpixel((2, 15)) == LEFT
    assert picture.convert("RGB").getpixel((38, 15)) == RIGHT


def test_grey_keeps_colour_under_objects_only(scripted: Scripted) -> None:
    url, _ = scripted()
    settings = {"background": "grey", "boxes": False, "labels": False, "opacity": 0}
    picture = np.asarray(opened(sent(url, picture_bytes(), params=settings)).convert("RGB"))
    assert len(set(picture[15, 30])) == 1
    assert tuple(picture[15, 10]) == LEFT


def test_scale_is_of_the_answer(scripted: Scripted) -> None:
    url, _ = scripted()
    assert opened(sent(url, picture_bytes(), params={"scale": 1.5})).size == (60, 45)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("image/jpeg", "image/jpeg"),
        ("application/json", "application/json"),
        ("application/json;q=0.4, image/*", "image/png"),
    ],
)
def test_the_accept_header_chooses(scripted: Scripted, accept: str, kind: str) -> None:
    url, _ = scripted()
    response = sent(url, picture_bytes(), headers={"Accept": accept})
    assert response.headers["Content-Type"] == kind
    assert response.status_code == 200


def test_a_bare_picture_is_a_body(scripted: Scripted) -> None:
    url, _ = scripted()
    response = requests.post(
        f"{url}/predict",
        data=picture_bytes("JPEG"),
        params=JSON,
        headers={"Content-Type": "image/jpeg"},
        timeout=60,
    )
    (picture,) = response.json()["pictures"]
    assert (picture["format"], picture["width_px"]) == ("JPEG", 40)


def test_json_says_everything(scripted: Scripted) -> None:
    url, _ = scripted()
    response = sent(url, picture_bytes(), params={**JSON, "threshold": 0.2, "polygons": True})
    answer = response.json()
    (picture,) = answer["pictures"]
    assert (picture["found"], picture["threshold"], picture["notes"]) == (2, 0.2, [])
    whole, upper = picture["detections"]
    assert (whole["category_id"], whole["category"]) == (1, "circle")
    assert (whole["bbox"], whole["box_xyxy_px"]) == ([0, 0, 20, 30], [0, 0, 20, 30])
    assert (whole["area_px"], whole["score"]) == (600, 0.9)
    assert whole["polygons"] == [[0, 0, 20, 0, 20, 30, 0, 30]]
    assert upper["category"] == "square"
    mask = decode(Rle(*whole["segmentation"]["size"], whole["segmentation"]["counts"]))
    assert mask[:, :20].all()
    assert not mask[:, 20:].any()
    # The upper half of the left lies under both masks, and counts once in the whole.
    assert picture["masked"]["pixels"] == 600
    assert picture["masked"]["share"] == 0.5
    shares = {one["category"]: one["pixels"] for one in picture["masked"]["by_category"]}
    assert shares == {"circle": 600, "square": 300}
    assert {"decode", "wait"} <= picture["timing_s"].keys()
    assert answer["model"]["name"] == "tiny"
    assert len(answer["model"]["checkpoint_sha256"]) == 64
    assert answer["model"]["checkpoint_pinned"] is True


def test_threshold_leaves_out_what_scores_less(scripted: Scripted) -> None:
    url, _ = scripted()
    assert [len(described(url, picture_bytes(), threshold=least)[0]["detections"]) for least in
            (0, 0.3, 0.31, 0.9, 0.91)] == [2, 2, 1, 1, 0]  # fmt: skip


def test_several_pictures_come_back_in_order(scripted: Scripted) -> None:
    url, _ = scripted()
    sizes = [(40, 30), (20, 30), (30, 60)]
    contents = []
    for size in sizes:
        written = BytesIO()
        PillowImage.new("RGB", size).save(written, "BMP")
        contents.append(written.getvalue())
    pictures = described(url, *contents)
    assert [(one["width_px"], one["height_px"]) for one in pictures] == sizes
    assert [one["name"] for one in pictures] == ["0.png", "1.png", "2.png"]


def test_the_picture_itself_can_be_had(scripted: Scripted) -> None:
    url, _ = scripted()
    (picture,) = described(url, picture_bytes("TIFF"), picture=True)
    assert picture["picture"].startswith("data:image/jpeg;base64,")
    assert described(url, picture_bytes())[0]["picture"] is None


def test_concurrent_requests_get_what_sequential_ones_get(tiny_url: str, small_coco: Path) -> None:
    contents = [path.read_bytes() for path in sorted((small_coco / "images").iterdir())] * 2
    contents = contents[:8]

    def found(content: bytes) -> list[Any]:
        detections: list[Any] = described(tiny_url, content, threshold=0)[0]["detections"]
        return detections

    one_by_one = [found(content) for content in contents]
    with ThreadPoolExecutor(8) as pool:
        at_once = list(pool.map(found, contents))
    assert at_once == one_by_one
    assert len({json.dumps(one) for one in one_by_one}) == 6
    assert sum(map(len, one_by_one)) > 0


@pytest.fixture
def small_url(small_coco: Path, tmp_path: Path) -> Iterator[str]:
    """The embedded model with the categories of the small data set."""
    request = composed(
        ServeRequest,
        annotations=small_coco / "annotations.json",
        root=tmp_path,
        threads=1,
        quiet=True,
    )
    model = find_served(request)
    engine = EngineThread(lambda: open_served(request, model), request.queue)
    with running(Service(request, model, engine)) as url:
        yield url


def test_detections_are_those_of_an_evaluation(
    small_url: str, small_coco: Path, tmp_path: Path
) -> None:
    inference = composed(
        InferenceRequest,
        annotations=small_coco / "annotations.json",
        images=small_coco / "images",
        root=tmp_path,
        threads=1,
    )
    request = EvalRequest(inference=inference, output=tmp_path / "run")
    evaluate(
        request,
        progress=Silent(),
        command=("harness", "eval"),
        now=utc_now(),
        stopwatch=PhaseTimer(time.perf_counter, lambda: None),
    )
    predictions = json.loads((tmp_path / "run" / "predictions.json").read_text("utf-8"))
    assert predictions
    for path in (small_coco / "images").iterdir():
        (picture,) = described(small_url, path.read_bytes(), threshold=0)
        keys = ("category_id", "bbox", "score", "segmentation")
        served = [{key: one[key] for key in keys} for one in picture["detections"]]
        expected = [
            {key: one[key] for key in keys}
            for one in predictions
            if one["image_id"] == int(path.stem)
        ]
        assert served == expected
