"""Every request is counted, timed and logged, however it ends."""

from __future__ import annotations

import asyncio
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from harness.core.printable import one_line
from harness.serve.failures import Fault, answer_of
from harness.serve.service import Service

#: Requested by machines every few seconds: not logged.
UNLOGGED = ("/health", "/metrics")

#: Characters of a path in the log.
PATH_LENGTH = 200


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
