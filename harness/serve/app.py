"""The routes of the service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, HTMLResponse, Response
from fastapi_offline import FastAPIOffline

from harness import __version__
from harness.files.json import dumps, to_plain
from harness.serve.examples import drawing_of
from harness.serve.failures import ErrorAnswer, Refusal, answer_failures, refused
from harness.serve.forms import FIELD
from harness.serve.guard import Guarded
from harness.serve.metrics import Observed
from harness.serve.responses import Answer, PictureAnswer
from harness.serve.service import Service
from harness.serve.settings import MEDIA_TYPES, Settings, chosen_format, require_known
from harness.serve.uploads import discard, read_uploads

T = TypeVar("T")

PAGE = Path(__file__).with_name("page.html")

#: The page is one file: a browser refuses whatever else it would load.
PAGE_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'"
)

BINARY = {"schema": {"type": "string", "format": "binary"}}
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {FIELD: {"type": "array", "items": BINARY["schema"]}},
                }
            },
            "image/*": BINARY,
        },
    }
}
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture with its objects drawn, or everything about them as JSON",
        "model": Answer,
        "content": {"image/png": BINARY, "image/jpeg": BINARY},
    },
    **{
        status: {"model": ErrorAnswer, "description": meaning}
        for status, meaning in {
            400: "Not an image, or a damaged one",
            406: "No answer of a type that the client accepts",
            413: "Too many bytes, pixels or images",
            415: "A body of a type that is not an image",
            422: "Invalid settings, or an invalid form",
            500: "The inference failed",
            503: "All places are taken; Retry-After says when to try again",
        }.items()
    },
}


def build_app(service: Service) -> FastAPI:
    """Build the application of an opened service.

    Args:
        service: What answers the requests; the application does not close it.

    Returns:
        The application with all routes and middleware.
    """
    app = FastAPIOffline(
        title="harness",
        version=__version__,
        description=f"Objects in pictures. The model: {service.title}.",
        docs_url="/docs",
        redoc_url=None,
    )
    answer_failures(app, service.notice)
    asked = service.request
    if asked.allow_origin:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(asked.allow_origin),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["X-Objects", "X-Masked-Share", "Server-Timing"],
        )
    app.add_middleware(
        Guarded,
        hosts=(asked.host, *asked.allow_host),
        origins=asked.allow_origin,
        max_upload_bytes=service.max_upload_bytes,
    )
    app.add_middleware(Observed, service=service)

    @app.post("/predict", response_class=Response, responses=ANSWERS, openapi_extra=BODY)
    async def predict(request: Request, settings: Annotated[Settings, Depends()]) -> Response:
        """Find the objects in one image or several.

        One image is answered as a picture or as JSON, several as JSON.
        """
        return await _predict(service, request, settings)

    _add_facts(app, service)
    _add_page(app, service)
    return app


def _add_page(app: FastAPI, service: Service) -> None:
    """Add the web page and its example images."""

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page() -> HTMLResponse:
        content = PAGE.read_text(encoding="utf-8")
        return HTMLResponse(content, headers={"Content-Security-Policy": PAGE_POLICY})

    @app.get("/examples/{number}", include_in_schema=False)
    async def example(number: int) -> FileResponse:
        if not 0 <= number < len(service.examples):
            raise refused(404, f"there is no example {number}", next_step="GET /info lists them")
        return FileResponse(service.examples[number])

    @app.get("/report", include_in_schema=False)
    async def report() -> FileResponse:
        if service.report is None:
            raise refused(404, "there is no report", next_step="harness eval writes one")
        return FileResponse(service.report, headers={"Content-Security-Policy": PAGE_POLICY})

    @app.get("/show/pictures/{number}.jpg", include_in_schema=False)
    async def picture(number: int) -> FileResponse:
        """One of the drawings that the report links to."""
        path = drawing_of(service.report, number)
        if path is None:
            raise refused(404, f"there is no drawing of image {number}", next_step="GET /report")
        return FileResponse(path)


def _add_facts(app: FastAPI, service: Service) -> None:
    """Add the routes about the service itself: health, info and metrics."""

    @app.head("/health", include_in_schema=False)
    @app.get("/health")
    async def health() -> Response:
        """200 while the engine works, 503 when its last inference failed."""
        crashed = service.engine.crashed
        facts = {
            "status": "ok" if crashed is None else "failing",
            "reason": crashed,
            "places_taken": service.engine.taken,
            "places": service.engine.places,
        }
        return _json(facts, 200 if crashed is None else 503)

    @app.head("/ping", include_in_schema=False)
    @app.get("/ping")
    async def ping() -> Response:
        """The same in the words of TorchServe, for what already watches one."""
        healthy = service.engine.crashed is None
        return _json({"status": "Healthy" if healthy else "Unhealthy"}, 200 if healthy else 503)

    @app.get("/info")
    async def info() -> Response:
        """The model, its categories and the limits of this service."""
        return _json(service.info())

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Counts and latencies in the text format of Prometheus."""
        return Response(service.metrics.text(), media_type=service.metrics.content_type)


async def _predict(service: Service, request: Request, settings: Settings) -> Response:
    """Answer ``POST /predict``.

    Raises:
        Refusal: The request is invalid, too large, or there is no free place.
    """
    require_known(request)
    format = chosen_format(settings.format, request.headers.get("accept"))
    with ExitStack() as places:
        try:
            places.enter_context(service.engine.held(1))
        except Refusal:
            await discard(request, service.max_upload_bytes)
            raise
        uploads = await read_uploads(
            request,
            service.decoders,
            max_bytes=service.max_upload_bytes,
            most=service.engine.places,
        )
        headers = await service.headers_of(uploads, 1.0 if format == "json" else settings.scale)
        if format == "json":
            places.enter_context(service.engine.held(len(uploads) - 1))
            describing = service.describe(uploads, headers, settings)
            return _json(await _unless_gone(request, describing))
        if len(uploads) > 1:
            raise _one_only(len(uploads))
        drawing = service.draw(uploads[0], headers[0], settings, format)
        drawn = await _unless_gone(request, drawing)
    return Response(drawn.content, media_type=MEDIA_TYPES[format], headers=_facts_of(drawn.answer))


async def _unless_gone(request: Request, work: Awaitable[T]) -> T:
    """Return what ``work`` returns, unless the client disconnects first.

    Raises:
        Refusal: 499 when the client disconnected; the part of the work that has not begun is
            cancelled by then, so that its place is free in truth.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise refused(499, "the client went away before its answer was ready")
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.wait({working, leaving})


def _json(content: Any, status: int = 200) -> Response:
    return Response(dumps(to_plain(content)), status_code=status, media_type="application/json")


def _facts_of(answer: PictureAnswer) -> dict[str, str]:
    """Return the facts that a client of a drawn picture can still read, as headers."""
    timing = ", ".join(f"{name};dur={1e3 * s:.1f}" for name, s in answer.timing_s.items())
    facts = {"Server-Timing": timing, "X-Objects": str(len(answer.detections))}
    if answer.masked is not None:
        facts["X-Masked-Share"] = f"{answer.masked.share:.6f}"
    return facts


def _one_only(count: int) -> Refusal:
    """Return the refusal (422) of a drawn answer for several images."""
    return refused(
        422,
        "several pictures have no answer that is one picture",
        expected="one picture, or a JSON answer",
        found=f"{count} pictures",
        next_step="ask with ?format=json, or send them one by one",
    )
