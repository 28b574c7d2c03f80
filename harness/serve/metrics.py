"""Metrics for Prometheus: requests, images, objects, and seconds by phase."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

#: From an embedded model on a GPU to a large one on a busy CPU.
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Counts and latencies since the start of one service; nothing is shared with another.

    Attributes:
        content_type: Of ``text``.
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
            path: Of a route, never what a client sent: each path becomes a series of its own.
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
