"""One engine in one thread, and the images that wait for it.

Each image is computed alone. In a batch images are padded to a common size, which changes the last
digits: an answer would depend on what other clients happened to send at the same time.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from harness.core.detections import Detections, Image
from harness.core.engine import Engine
from harness.core.errors import IntegrityError, RunFailedError
from harness.files.failures import failure_of
from harness.measure.timing import PhaseTimer
from harness.serve.failures import refused

T = TypeVar("T")

#: Threads that decode, resize and draw beside the engine; Pillow releases the interpreter's lock.
SIDE_THREADS = 2

#: Decoded images at once: one computed, one ready, one drawn, one decoded. Bounds memory.
DECODED_AT_ONCE = 4

#: Weight of the last image in the moving average of the time an image takes, 0 to 1.
FOLLOWING = 0.2

#: What to do where the machine or its GPU failed a request.
RESTART = "then send it again; where every request fails, start the service again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inferred:
    """A decoded image, and everything that the network found in it."""

    image: Image
    """Upright, as decoded."""

    detections: Detections
    """All detections, at any score; boxes in pixels of ``image``."""

    seconds: dict[str, float]
    """Seconds by phase."""


class EngineThread:
    """An engine that is used from an event loop.

    Attributes:
        places: Images that may be in the service at once, from the first byte to the last.
        taken: Images that are in the service now.
        crashed: What the last inference failed with; None while the engine works.
        engine: The engine itself.
    """

    def __init__(self, open_engine: Callable[[], Engine], places: int) -> None:
        """Open the engine in the thread that will use it.

        Args:
            open_engine: Opens the engine; what it raises is raised here.
            places: Images that may be in the service at once.
        """
        self.places = places
        self.taken = 0
        self.crashed: str | None = None
        self._seconds = 0.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._side = ThreadPoolExecutor(SIDE_THREADS, thread_name_prefix="picture")
        self._decoded = asyncio.Semaphore(DECODED_AT_ONCE)
        try:
            # Opened where it computes: what torch keeps for each thread is then set there.
            self.engine = self._thread.submit(open_engine).result()
        except BaseException:
            self._shut_down()
            raise

    @contextmanager
    def held(self, places: int) -> Iterator[None]:
        """Take places for images until the block ends.

        Args:
            places: How many.

        Raises:
            Refusal: 503 when fewer are free.
        """
        if self.taken + places > self.places:
            raise self._busy(places)
        self.taken += places
        try:
            yield
        finally:
            self.taken -= places

    async def infer(
        self,
        name: str,
        decode: Callable[[], Awaitable[Image]],
        finish: Callable[[Inferred], T],
    ) -> T:
        """Run inference on one image.

        Args:
            name: The name the client gave it, for messages.
            decode: Returns its pixels; called once there is memory for them.
            finish: Called with the image and its detections, in a thread beside the engine.

        Returns:
            What ``finish`` returns.

        Raises:
            Refusal: The image cannot be decoded or resized.
        """
        loop = asyncio.get_running_loop()
        async with self._decoded:
            begun = time.perf_counter()
            image = await decode()
            decoded_s = time.perf_counter() - begun
            prepared, timer = await loop.run_in_executor(self._side, self._prepare, name, image)
            timer.seconds["decode"] = decoded_s
            queued = time.perf_counter()
            inferred = await loop.run_in_executor(
                self._thread, self._compute, image, prepared, timer, queued
            )
            return await loop.run_in_executor(self._side, finish, inferred)

    def warm_up(self, image: Image) -> float:
        """Run one inference, which is slower than those that follow.

        Args:
            image: Any image of a usual size.

        Returns:
            Seconds it took.
        """
        timer = self._timer()
        prepared = self.engine.prepare(image, timer)
        begun = time.perf_counter()
        self._thread.submit(self._compute, image, prepared, timer, begun).result()
        return time.perf_counter() - begun

    def close(self) -> None:
        """Close the engine and the threads, after the work that has begun."""
        self._thread.submit(self.engine.close).result()
        self._shut_down()

    def _shut_down(self) -> None:
        self._thread.shutdown()
        self._side.shutdown()

    def _timer(self) -> PhaseTimer:
        return PhaseTimer(time.perf_counter, lambda: None)

    def _prepare(self, name: str, image: Image) -> tuple[object, PhaseTimer]:
        """Return the input of the network, and the timer of its phases.

        Raises:
            Refusal: 400 for an image so narrow that nothing is left of it.
        """
        timer = self._timer()
        try:
            return self.engine.prepare(image, timer), timer
        except IntegrityError as error:
            raise refused(
                400,
                f"{name} cannot be resized for the network",
                expected="an image of some width and height",
                found=error.message,
                next_step=error.hint or "send another image",
            ) from None

    def _compute(
        self, image: Image, prepared: object, timer: PhaseTimer, queued: float
    ) -> Inferred:
        """Run the network; called in the thread of the engine.

        What it raises is also kept in ``crashed``, which ``GET /health`` reports.

        Args:
            queued: When the image began to wait for the engine, in seconds of ``perf_counter``.
        """
        begun = time.perf_counter()
        computing = PhaseTimer(time.perf_counter, self.engine.synchronize)
        try:
            (detections,) = self.engine.infer([prepared], computing)
        except Exception as error:
            failure = failure_of(error, then=RESTART)  # of memory, of a GPU
            self.crashed = f"{type(error).__name__}: {error if failure is None else failure}"
            if failure is None:
                raise
            raise failure from error
        self.crashed = None
        seconds = time.perf_counter() - begun
        self._seconds += (seconds - self._seconds) * (FOLLOWING if self._seconds else 1)
        _require_classes(detections, self.engine.info.architecture.class_count)
        phases = {**timer.seconds, "wait": begun - queued, **computing.seconds}
        return Inferred(image=image, detections=detections, seconds=phases)

    def _busy(self, places: int) -> Exception:
        """Return the refusal (503), with the time after which a place is probably free."""
        again_s = max(1, math.ceil(self.taken * self._seconds))
        return refused(
            503,
            "all places are taken",
            expected=f"{places} of {self.places} places free",
            found=f"{self.places - self.taken} free",
            next_step=f"send it again in {again_s} s, or start the service with a larger --queue",
            headers={"Retry-After": str(again_s)},
        )


def _require_classes(detections: Detections, count: int) -> None:
    """Check that each class has a name.

    Raises:
        RunFailedError: One is outside of 0 to ``count`` - 1.
    """
    classes = detections.class_index
    if len(classes) and not 0 <= classes.min() <= classes.max() < count:
        raise RunFailedError(
            f"the engine returned classes {classes.min()}…{classes.max()}; there are {count}"
        )
