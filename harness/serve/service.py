"""What is behind every request: the model, its engine, the limits and the metrics."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from harness import __version__
from harness.core.detections import Image
from harness.core.errors import RunFailedError
from harness.core.printable import counted
from harness.core.requests.loading import ServeRequest
from harness.core.run_files import RUN
from harness.engines.loading import ProvenModel
from harness.files.readable import resolved
from harness.serve.decoding import Decoders
from harness.serve.engine_thread import EngineThread, Inferred
from harness.serve.failures import refused
from harness.serve.images import Header, PictureFormat, Upload, encode
from harness.serve.metrics import Metrics
from harness.serve.responses import Answer, ModelFacts, PictureAnswer, picture_answer
from harness.serve.settings import Settings
from harness.visualization.overlays import draw
from harness.visualization.palette import colour_of

T = TypeVar("T")

#: (height, width) of the image the engine is warmed up with, px: COCO's most frequent.
WARM_UP_PX = (480, 640)

#: Colours that the page knows; they repeat after so many.
PALETTE = 100

#: Classes that a title names.
MOST_NAMED = 5


class Drawn(NamedTuple):
    """A drawn picture, and what its JSON answer would be."""

    content: bytes
    """The file."""

    answer: PictureAnswer
    """The same facts as in the JSON."""


class Service:
    """A served model with its engine open.

    Attributes:
        request: What is served, with the limits.
        model: The model, with its weights verified.
        examples: Images to try the model on.
        report: A page about the model; None without one.
        notice: Called with lines for the operator.
        engine: Closed by ``close``.
        decoders: Parse what clients send.
        ending: Whether a signal to end was received.
        unanswered: Requests that were cancelled when the service ended.
        metrics: For Prometheus.
        facts: Part of every JSON answer.
    """

    def __init__(
        self,
        request: ServeRequest,
        model: ProvenModel,
        engine: EngineThread,
        *,
        examples: Sequence[Path] = (),
        report: Path | None = None,
        notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Take over an open engine.

        Args:
            request: What is served, with the limits.
            model: The model, with its weights verified.
            engine: Closed with the service.
            examples: Images to try the model on.
            report: A page about the model; None without one.
            notice: Called with lines for the operator.
        """
        self.request = request
        self.model = model
        self.examples = tuple(examples)
        self.report = report
        self.notice = notice
        self.begun_s = time.monotonic()
        self.engine = engine
        self.decoders = Decoders(request.max_megapixels)
        self.ending = False
        self.unanswered = 0
        self.metrics = Metrics(lambda: engine.taken, engine.places)
        self.names = [category.name for category in model.categories]
        info = engine.engine.info
        self.facts = ModelFacts(
            name=model.entry.name,
            checkpoint_sha256=model.file.checkpoint.sha256,
            checkpoint_pinned=model.file.checkpoint.pinned,
            engine=info.name,
            engine_version=info.version,
            device=info.device_class,
            precision=info.precision,
            harness_version=__version__,
        )

    def warm_up(self) -> float:
        """Start a decoder, run inference on a grey image, and return its seconds."""
        self.decoders.start()
        grey = np.full((*WARM_UP_PX, 3), 128, dtype=np.uint8)
        return self.engine.warm_up(Image(image_id=0, pixels_bgr=grey))

    @property
    def max_upload_bytes(self) -> int:
        """Bytes that one request may have."""
        return int(self.request.max_upload_mb * 1e6)

    async def headers_of(self, uploads: Sequence[Upload], scale: float) -> list[Header]:
        """Read format and size of each upload.

        Args:
            uploads: The files.
            scale: Size of the drawn picture relative to the image.

        Raises:
            Refusal: One is not an image, is too large, or would be drawn too large.
        """
        headers = await _all(self.decoders.header_of(upload) for upload in uploads)
        for upload, header in zip(uploads, headers, strict=True):
            drawn = header.width_px * header.height_px * scale**2
            if drawn > self.request.max_megapixels * 1e6:
                raise refused(
                    422,
                    f"{upload.name} would be drawn too large",
                    expected=f"at most {self.request.max_megapixels:g} megapixels",
                    found=f"{drawn / 1e6:.0f} megapixels at scale {scale:g}",
                    next_step="ask for a smaller scale",
                )
        return list(headers)

    async def describe(
        self, uploads: Sequence[Upload], headers: Sequence[Header], settings: Settings
    ) -> Answer:
        """Run inference on all images and return the JSON answer.

        Args:
            uploads: The files.
            headers: What ``headers_of`` returned for them.
            settings: Settings of the request.

        Raises:
            Refusal: An image cannot be decoded.
            RunFailedError: The inference failed.
        """
        begun = time.perf_counter()

        def described(name: str, header: Header) -> Callable[[Inferred], PictureAnswer]:
            return lambda found: self._picture(name, header, settings, found)

        pictures = await _all(
            self.engine.infer(
                upload.name,
                partial(self.decoders.decode, upload, header),
                described(upload.name, header),
            )
            for upload, header in zip(uploads, headers, strict=True)
        )
        for picture in pictures:
            self.metrics.inferred(picture.found, picture.timing_s)
        total_s = round(time.perf_counter() - begun, 6)
        return Answer(model=self.facts, pictures=pictures, total_s=total_s)

    async def draw(
        self, upload: Upload, header: Header, settings: Settings, format: PictureFormat
    ) -> Drawn:
        """Run inference on one image and draw its objects.

        Args:
            upload: The file.
            header: What ``headers_of`` returned for it.
            settings: Settings of the request.
            format: Format of the picture.

        Raises:
            Refusal: The image cannot be decoded.
            RunFailedError: The inference failed.
        """

        def drawn(found: Inferred) -> Drawn:
            begun = time.perf_counter()
            pixels = draw(
                found.image.pixels_bgr,
                found.detections.with_stuff(self.model.stuff),
                self.names,
                settings.style,
                self.model.categories,
            )
            content = encode(pixels, format)
            found.seconds["draw"] = time.perf_counter() - begun
            return Drawn(content, self._picture(upload.name, header, settings, found))

        decode = partial(self.decoders.decode, upload, header)
        answer = await self.engine.infer(upload.name, decode, drawn)
        self.metrics.inferred(answer.answer.found, answer.answer.timing_s)
        return answer

    @property
    def title(self) -> str:
        """What is served: a model entry, or weights of one's own by their run and classes."""
        weights = self.request.network.weights
        if weights is None:
            return self.model.entry.title
        run = weights.parent if (weights.parent / RUN).is_file() else None
        name = weights.name if run is None else resolved(run).name
        classes = ", ".join(self.names[:MOST_NAMED])
        more = "" if len(self.names) <= MOST_NAMED else f" and {len(self.names) - MOST_NAMED} more"
        return f"{name}: {classes}{more} ({self.model.entry.name})"

    def info(self) -> dict[str, Any]:
        """Return the content of ``GET /info``."""
        architecture = self.model.architecture
        return {
            "model": self.facts,
            "title": self.title,
            "has_masks": architecture.has_masks,
            "keypoint_count": architecture.keypoint_count,
            "lowest_score": architecture.score_threshold,
            "most_objects": architecture.max_detections,
            "categories": [
                {
                    "category_id": one.category_id,
                    "category": one.name,
                    "keypoints": list(one.keypoints),
                    "skeleton": [list(bone) for bone in one.skeleton],
                }
                for one in self.model.categories
            ],
            "limits": {
                "upload_bytes": self.max_upload_bytes,
                "megapixels": self.request.max_megapixels,
                "pictures": self.engine.places,
            },
            "examples": [
                {"name": path.name, "url": f"examples/{number}"}
                for number, path in enumerate(self.examples)
            ],
            "report": None if self.report is None else "report",
            "colours": [colour_of(number).css for number in range(PALETTE)],
            "uptime_s": round(time.monotonic() - self.begun_s, 3),
        }

    def require_answered(self) -> None:
        """Check that every request was answered when the service ended.

        Raises:
            RunFailedError: Some were cancelled.
        """
        if self.unanswered:
            raise RunFailedError(
                f"{counted(self.unanswered, 'request was', 'requests were')} not answered "
                "before the service ended"
            )

    def close(self) -> None:
        """End the decoders, then close the engine."""
        self.decoders.close()
        self.engine.close()

    def _picture(
        self, name: str, header: Header, settings: Settings, found: Inferred
    ) -> PictureAnswer:
        picture = picture_answer(
            name,
            header,
            found.detections.with_stuff(self.model.stuff),
            self.model.categories,
            threshold=settings.threshold,
            polygons=settings.polygons,
            timing_s=found.seconds,
        )
        if not settings.picture:
            return picture
        content = base64.b64encode(encode(found.image.pixels_bgr, "jpeg")).decode("ascii")
        return replace(picture, picture=f"data:image/jpeg;base64,{content}")


async def _all(work: Iterable[Coroutine[Any, Any, T]]) -> tuple[T, ...]:
    """Return all results in order; when one fails, the others are cancelled where they wait."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return tuple(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
