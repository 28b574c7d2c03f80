"""One engine in one thread, and the pictures that wait for it.

Each picture is computed alone. In a batch pictures are padded to a common size, which moves the
last digits: an answer would depend on what strangers happened to send at the same time.
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
from harness.core.errors import RunFailedError
from harness.measure.timing import PhaseTimer
from harness.serve.failures import refused

T = TypeVar("T")

#: Threads that decode, resize and draw beside the engine; Pillow lets go of the interpreter.
SIDE_THREADS = 2

#: Decoded pictures at once: one computed, one ready, one drawn, one decoded. Bounds memory.
DECODED_AT_ONCE = 4

#: How fast the estimate of a picture's time follows the last ones.
FOLLOWING = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Inferred:
    """A decoded picture, and all that the network found in it. seconds: by phase."""

    image: Image
    detections: Detections
    seconds: dict[str, float]


class EngineThread:
    """An engine that is used from an event loop.

    places: pictures that may be inside at once, from the first byte to the last.
    """

    def __init__(self, open_engine: Callable[[], Engine], places: int) -> None:
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
        """So many places for pictures, until the block ends; Refusal (503) when there are fewer."""
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
        """Infer one image.

        Args:
            name: What the client calls it.
            decode: Gives its pixels, once there is room for them.
            finish: Called with the image and its detections, in a thread beside the engine.

        Returns:
            What ``finish`` returns.
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
        """Seconds of a first inference, which is slower than those that follow."""
        timer = self._timer()
        prepared = self.engine.prepare(image, timer)
        begun = time.perf_counter()
        self._thread.submit(self._compute, image, prepared, timer, begun).result()
        return time.perf_counter() - begun

    def close(self) -> None:
        """Give back the engine and the threads, when what they do is done."""
        self._thread.submit(self.engine.close).result()
        self._shut_down()

    def _shut_down(self) -> None:
        self._thread.shutdown()
        self._side.shutdown()

    def _timer(self) -> PhaseTimer:
        return PhaseTimer(time.perf_counter, lambda: None)

    def _prepare(self, name: str, image: Image) -> tuple[object, PhaseTimer]:
        timer = self._timer()
        try:
            return self.engine.prepare(image, timer), timer
        except ValueError as error:  # of a picture so narrow that nothing is left of it
            raise refused(
                400,
                f"{name} cannot be resized for the network",
                expected="a picture of some width and height",
                found=str(error),
                next_step="cut it into pieces",
            ) from None

    def _compute(
        self, image: Image, prepared: object, timer: PhaseTimer, queued: float
    ) -> Inferred:
        """In the engine's thread. A crash is told to health, and raised."""
        begun = time.perf_counter()
        computing = PhaseTimer(time.perf_counter, self.engine.settle)
        try:
            (detections,) = self.engine.infer([prepared], computing)
        except Exception as error:
            self.crashed = f"{type(error).__name__}: {error}"
            raise
        self.crashed = None
        seconds = time.perf_counter() - begun
        self._seconds += (seconds - self._seconds) * (FOLLOWING if self._seconds else 1)
        _require_classes(detections, self.engine.info.architecture.class_count)
        phases = {**timer.seconds, "wait": begun - queued, **computing.seconds}
        return Inferred(image=image, detections=detections, seconds=phases)

    def _busy(self, places: int) -> Exception:
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
    """Raise RunFailedError for a class that has no name."""
    classes = detections.class_index
    if len(classes) and not 0 <= classes.min() <= classes.max() < count:
        raise RunFailedError(
            f"the engine answered classes {classes.min()}…{classes.max()}; there are {count}"
        )
