"""The engine of an exported file answers as the native engine does, whatever runs the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.core.detections import Image
from harness.core.engine import Engine
from harness.core.errors import IntegrityError
from harness.engines.native import NativeEngine, PreparedImage, open_native
from harness.engines.onnx import open_onnx
from harness.engines.pt2 import open_pt2
from harness.measure.agreement import EXPORTED_MASK_SLACK_PX, compare
from harness.measure.timing import NULL_STOPWATCH
from harness.zoo.architectures import tiny
from harness.zoo.checkpoints import EMBEDDED
from tests.golden.cases import pictures

#: What opens a file, and the fixture that is one.
KINDS: dict[str, tuple[Callable[..., Engine], str]] = {
    "onnx": (open_onnx, "exported_tiny"),
    "pt2": (open_pt2, "exported_pt2"),
}

#: (height, width) of images as they reach the network, none of them the one that was traced: even
#: and odd numbers of cells in the smallest level, single cells, and less than one.
SIZES = (
    *((288, 384), (384, 288), (256, 320), (288, 288)),
    *((32, 32), (31, 65), (16, 400), (400, 16), (1, 1)),
)

#: The files are made by an export, which takes a minute.
pytestmark = [pytest.mark.slow, pytest.mark.parametrize("kind", KINDS)]


@pytest.fixture(scope="module")
def native() -> NativeEngine:
    weights = EMBEDDED / "tiny.safetensors"
    return open_native(architecture=tiny(), weights=weights, device="cpu", threads=1)


@pytest.fixture
def file(kind: str, request: pytest.FixtureRequest) -> Path:
    if kind == "onnx":
        pytest.importorskip("onnxruntime", reason="needs the packages of the extra onnx")
    return Path(request.getfixturevalue(KINDS[kind][1]))


@pytest.fixture
def engine(kind: str, file: Path) -> Iterator[Engine]:
    opened = KINDS[kind][0](architecture=tiny(), weights=file, device="cpu", threads=1)
    yield opened
    opened.close()


def test_it_answers_what_the_native_engine_answers(engine: Engine, native: NativeEngine) -> None:
    prepared = [engine.prepare(picture, NULL_STOPWATCH) for picture in pictures()]
    answers = engine.infer(prepared, NULL_STOPWATCH)
    for one, found in zip(prepared, answers, strict=True):
        expected = native.infer([one], NULL_STOPWATCH)[0]
        assert found.image_id == expected.image_id
        assert len(expected) >= 3
        assert (
            compare(found, expected, mask_slack_px=EXPORTED_MASK_SLACK_PX).share_within_bars == 1.0
        )


@pytest.mark.parametrize("size", SIZES)
def test_images_of_any_shape(engine: Engine, native: NativeEngine, size: tuple[int, int]) -> None:
    noise = np.random.Generator(np.random.PCG64(1)).integers(0, 256, (*size, 3), dtype=np.uint8)
    image = PreparedImage(1, noise, *size)
    found = engine.infer([image], NULL_STOPWATCH)[0]
    expected = native.infer([image], NULL_STOPWATCH)[0]
    assert len(expected) > 50 or size != (288, 384)
    assert compare(found, expected, mask_slack_px=EXPORTED_MASK_SLACK_PX).share_within_bars == 1.0


def test_an_image_without_detections(engine: Engine) -> None:
    grey = Image(image_id=5, pixels_bgr=np.full((240, 320, 3), 128, dtype=np.uint8))
    found = engine.infer([engine.prepare(grey, NULL_STOPWATCH)], NULL_STOPWATCH)[0]
    assert len(found) == 0
    assert found.boxes_xyxy_px.shape == (0, 4)
    assert found.masks == ()


def test_another_recipe_than_the_files_is_refused(kind: str, file: Path) -> None:
    asked = replace(tiny(), score_threshold=0.5)
    with pytest.raises(IntegrityError, match=r"score_threshold: asked 0\.5, in the file 0\.05"):
        KINDS[kind][0](architecture=asked, weights=file, device="cpu")
