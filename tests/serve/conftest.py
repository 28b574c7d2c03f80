"""A real server on loopback in this process, and an engine that a test steers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image as PillowImage

from harness.core.detections import Detections, Image
from harness.core.engine import EngineInfo, Stopwatch
from harness.core.requests.loading import ServeRequest
from harness.measure.masks import encode_region
from tests.composing import composed

pytest.importorskip("fastapi", reason="needs the extra serve")

from harness.serve.app import build_app
from harness.serve.connections import Server
from harness.serve.engine_thread import EngineThread
from harness.serve.server import find_served, listening, open_served, url_of
from harness.serve.service import Service

#: Colour of the two halves of the picture most tests send, as red, green, blue.
LEFT, RIGHT = (200, 30, 20), (20, 60, 220)


@contextmanager
def running(service: Service, begun: Callable[[Server], None] = lambda _: None) -> Iterator[str]:
    """The address of ``service`` on a server of its own; both are closed after the block."""
    server = Server(build_app(service), on_end=lambda: None)
    begun(server)
    with listening("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield url_of(listener)
        finally:
            server.should_exit = True
            thread.join()
            service.close()


def picture_bytes(format: str = "PNG", **options: Any) -> bytes:
    """A file of 40 × 30 px, red on the left and blue on the right."""
    picture = PillowImage.new("RGB", (40, 30), LEFT)
    picture.paste(RIGHT, (20, 0, 40, 30))
    written = BytesIO()
    picture.save(written, format, **options)
    return written.getvalue()


def sent(url: str, *contents: bytes, **options: Any) -> requests.Response:
    """POST /predict with the pictures as parts of a form; options of ``requests.post``."""
    files = [("file", (f"{number}.png", content)) for number, content in enumerate(contents)]
    return requests.post(f"{url}/predict", files=files, timeout=60, **options)


class ScriptedEngine:
    """Finds the left half of every picture, once ``go`` is set; fails while ``fault`` is set."""

    def __init__(self, info: EngineInfo) -> None:
        self.info = info
        self.go, self.begun = Event(), Event()
        self.go.set()
        self.fault: Exception | None = None
        self.calls = 0
        self.closed = False
        self.service: Service
        self.server: Server

    def prepare(self, image: Image, stopwatch: Stopwatch) -> Image:
        return image

    def infer(self, prepared: Sequence[Image], stopwatch: Stopwatch) -> list[Detections]:
        self.calls += 1
        self.begun.set()
        assert self.go.wait(30)
        if self.fault is not None:
            raise self.fault
        return [left_half(image) for image in prepared]

    def synchronize(self) -> None: ...

    def peak_memory_bytes(self) -> int | None:
        return None

    def close(self) -> None:
        self.closed = True


def left_half(image: Image) -> Detections:
    """One object of the first class at 0.9, and one of the second, the upper left, at 0.3."""
    height, width = image.height_px, image.width_px // 2

    def mask(rows: int) -> Any:
        region = np.ones((rows, width), dtype=bool)
        return encode_region(region, top_px=0, left_px=0, height_px=height, width_px=image.width_px)

    return Detections(
        image_id=image.image_id,
        boxes_xyxy_px=np.array(
            [[0, 0, width, height], [0, 0, width, height // 2]], dtype=np.float32
        ),
        scores=np.array([0.9, 0.3], dtype=np.float32),
        class_index=np.array([0, 1]),
        masks=(mask(height), mask(height // 2)),
    )


@pytest.fixture(scope="module")
def tiny_url(embedded_root: Path) -> Iterator[str]:
    """The embedded model behind a server."""
    request = composed(ServeRequest, root=embedded_root, threads=1, quiet=True)
    model = find_served(request)
    engine = EngineThread(lambda: open_served(request, model), request.queue)
    with running(Service(request, model, engine)) as url:
        yield url


Scripted = Callable[..., tuple[str, ScriptedEngine]]


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[Scripted]:
    """Starts servers with an engine that does what a test says; options are of a ServeRequest."""
    from contextlib import ExitStack

    from harness.zoo.architectures import tiny

    with ExitStack() as stack:

        def start(notices: list[str] | None = None, **fields: Any) -> tuple[str, ScriptedEngine]:
            request = composed(ServeRequest, root=tmp_path, **fields)
            info = EngineInfo(
                name="fake",
                version="scripted",
                device="none",
                device_class="none",
                precision="fp32",
                threads=1,
                architecture=tiny(),
            )
            engine = ScriptedEngine(info)
            thread = EngineThread(lambda: engine, request.queue)
            notice = (lambda _: None) if notices is None else notices.append
            service = Service(request, find_served(request), thread, notice=notice)
            engine.service = service
            url = stack.enter_context(running(service, partial(setattr, engine, "server")))
            stack.callback(engine.go.set)
            return url, engine

        yield start


def until(true: Callable[[], bool]) -> None:
    """Ask again and again until it is so."""
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)  # the core is the server's
