"""Every request is counted, timed and logged, however it ends; the numbers, for Prometheus."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from harness.core.printable import one_line
from harness.serve.failures import Fault, answer_of

if TYPE_CHECKING:
    from harness.serve.service import Service

#: From an embedded model on a GPU to a large one on a busy CPU.
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

#: Requested by machines every few seconds: not logged.
UNLOGGED = ("/health", "/ping", "/metrics")

#: Characters of a path in the log.
PATH_LENGTH = 200


class Metrics:
    """Counts and latencies since the start of one service; nothing is shared with another.

    Attributes:
        content_type: Content type of ``text``.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, taken: Callable[[], float], places: int) -> None:
        """Start all counts at zero.

        Args:
            taken: Returns how many images are in the service now.
            places: Images that may be in the service.
        """
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "harness_requests",
            "Requests answered, by path and HTTP status",
            ("path", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "harness_request_seconds",
            "From the first byte of a request to the last of its answer",
            ("path",),
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        self._pictures = Counter("harness_pictures", "Pictures inferred", registry=self._registry)
        self._objects = Counter(
            "harness_objects", "Objects found, at any score", registry=self._registry
        )
        self._phases = Histogram(
            "harness_phase_seconds",
            "Seconds a picture spends in a phase",
            ("phase",),
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        inside = Gauge("harness_places_taken", "Pictures inside now", registry=self._registry)
        inside.set_function(taken)
        Gauge("harness_places", "Pictures that may be inside", registry=self._registry).set(places)

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count one request.

        Args:
            path: Path of a route, never what a client sent: each path becomes a series of its own.
            status: HTTP status.
            seconds: From the first byte of the request to the last of its answer.
        """
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def inferred(self, objects: int, phases_s: Mapping[str, float]) -> None:
        """Count one image.

        Args:
            objects: Objects found, at any score.
            phases_s: Seconds by phase.
        """
        self._pictures.inc()
        self._objects.inc(objects)
        for phase, seconds in phases_s.items():
            self._phases.labels(phase).observe(seconds)

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self._registry)


class Observed:
    """ASGI middleware around the whole application that counts and logs requests."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        """Wrap an application.

        Args:
            app: Receives every request.
            service: Its metrics count the requests, its notice logs them.
        """
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; record its status and its time."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, recorded, started = 500, False, False
        begun = time.perf_counter()

        def record() -> None:
            nonlocal recorded
            if not recorded:
                recorded = True
                self._record(scope, status, time.perf_counter() - begun)

        async def watching(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                started, status = True, message["status"]
                if self._service.ending:
                    headers = [*message.get("headers", ()), (b"connection", b"close")]
                    message = {**message, "headers": headers}
            elif not message.get("more_body", False):
                record()  # before the last bytes leave: who has an answer finds it counted
            await send(message)

        try:
            await self._app(scope, receive, watching)
        except asyncio.CancelledError:  # the service ends, and does not wait
            self._service.unanswered += 1
            if not started:
                fault = Fault(status=503, what="the service ended before the answer was ready")
                await answer_of(fault)(scope, receive, watching)
        finally:
            record()

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        """Count one request, and log a line for it where it is wanted."""
        path = getattr(scope.get("route"), "path", "other")
        self._service.metrics.answered(path, status, seconds)
        if path not in UNLOGGED and not self._service.request.quiet:
            # As it was sent: a decoded path may contain line breaks or control sequences.
            asked = one_line(scope["raw_path"].decode("latin-1")[:PATH_LENGTH])
            self._service.notice(f"{scope['method']} {asked} {status} {1e3 * seconds:.0f} ms")
