"""Every request counted, timed and told of, whatever became of it."""

from __future__ import annotations

import asyncio
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from harness.core.printable import one_line
from harness.serve.failures import Fault, answer_of
from harness.serve.service import Service

#: Asked by machines every few seconds: not worth a line.
UNTOLD = ("/health", "/metrics")


#: Characters of a path in the log.
PATH_LENGTH = 200


class Observed:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; look at the status on its way out."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, told, started = 500, False, False
        begun = time.perf_counter()

        def tell() -> None:
            nonlocal told
            if not told:
                told = True
                self._tell(scope, status, time.perf_counter() - begun)

        async def watching(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                started, status = True, message["status"]
                if self._service.ending:
                    headers = [*message.get("headers", ()), (b"connection", b"close")]
                    message = {**message, "headers": headers}
            elif not message.get("more_body", False):
                tell()  # before the last bytes leave: whoever has an answer finds it counted
            await send(message)

        try:
            await self._app(scope, receive, watching)
        except asyncio.CancelledError:  # the service ends, and waits no longer
            self._service.unanswered += 1
            if not started:
                fault = Fault(status=503, what="the service ended before the answer was ready")
                await answer_of(fault)(scope, receive, watching)
        finally:
            tell()

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        path = getattr(scope.get("route"), "path", "other")
        self._service.metrics.answered(path, status, seconds)
        if path not in UNTOLD and not self._service.request.quiet:
            # As it was sent: what a path decodes to may forge lines, or command a terminal.
            asked = one_line(scope["raw_path"].decode("latin-1")[:PATH_LENGTH])
            self._service.notice(f"{scope['method']} {asked} {status} {1e3 * seconds:.0f} ms")
