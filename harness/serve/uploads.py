"""The body of a request, read within limits of size and time."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from starlette.requests import Request

from harness.serve.decoding import Decoders
from harness.serve.failures import Refusal, refused
from harness.serve.forms import CURL
from harness.serve.images import Upload

#: Of a body that is refused for its size, so much more is read and discarded: a client that is
#: still sending would otherwise get a closed connection instead of the reason.
DISCARDED_TIMES = 8
DISCARDED_S = 10.0

#: A body that takes longer, or arrives more slowly after some seconds, is refused.
BODY_S = 120.0
PATIENCE_S = 10.0
SLOWEST_BYTES_PER_S = 10_000


@dataclass(slots=True)
class Body:
    """What was read of a body so far."""

    limit: int
    """The most bytes that are kept."""

    size: int = 0
    """Bytes so far, kept or not."""

    parts: list[bytes] = field(default_factory=list)
    """What was kept."""

    def add(self, part: bytes) -> None:
        """Keep ``part``; keep nothing once the body is larger than the limit."""
        self.size += len(part)
        if self.size <= self.limit:
            self.parts.append(part)
        else:
            self.parts.clear()


async def read_uploads(
    request: Request, decoders: Decoders, *, max_bytes: int, most: int
) -> list[Upload]:
    """Read the images of a request.

    They are the parts ``file`` of a form, or one body of an image type.

    Args:
        request: The request.
        decoders: Parse forms.
        max_bytes: Limit of the whole body.
        most: The maximum number of images.

    Returns:
        One or more images, in order.

    Raises:
        Refusal: 408, 413, 415, or 422 for a form without images.
    """
    announced = request.headers.get("content-type", "")
    kind = announced.partition(";")[0].strip().lower()
    raw = kind.startswith("image/") or kind == "application/octet-stream"
    if kind != "multipart/form-data" and not raw:
        await discard(request, max_bytes)
        raise refused(
            415,
            "the body is of a type that is not an image",
            expected="multipart/form-data, image/*, or application/octet-stream",
            found=kind or "no Content-Type",
            next_step=f"try: {CURL}",
        )
    content = await _read(request, max_bytes)
    if raw:
        return [Upload(name="the body", content=content)]
    return await decoders.files_of(announced, content, most)


async def discard(request: Request, max_bytes: int) -> None:
    """Read the rest of a body that is not used, up to a limit of size and time.

    Nothing is read where the client waits for permission to send the body at all.

    Args:
        request: The request.
        max_bytes: Limit of an accepted body; several times as much is read here.
    """
    if "expect" in request.headers:
        return
    try:
        await asyncio.wait_for(_discard(request, DISCARDED_TIMES * max_bytes), DISCARDED_S)
    except asyncio.TimeoutError:
        return


async def _discard(request: Request, most: int) -> None:
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            return


async def _read(request: Request, max_bytes: int) -> bytes:
    """Return the whole body.

    Raises:
        Refusal: 413 where it is too large, 408 where it is too slow.
    """
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced) > max_bytes:
        await discard(request, max_bytes)
        raise _too_large(announced, max_bytes)
    body = Body(max_bytes)
    try:
        await _fill(request, body)
    except asyncio.TimeoutError:
        raise refused(
            408,
            "the body did not arrive in time",
            expected=f"all of it within {BODY_S:g} s, and {SLOWEST_BYTES_PER_S} bytes a second",
            found=f"{body.size} bytes",
            next_step="send it again, or a smaller picture",
            headers={"Connection": "close"},
        ) from None
    if body.size > max_bytes:
        raise _too_large(f"more than {max_bytes}", max_bytes)
    return b"".join(body.parts)


async def _fill(request: Request, body: Body) -> None:
    """Read a body.

    Raises:
        asyncio.TimeoutError: It arrives too slowly.
    """
    begun = time.monotonic()
    stream = request.stream()
    while True:
        allowed_s = min(BODY_S, PATIENCE_S + body.size / SLOWEST_BYTES_PER_S)
        left_s = allowed_s - (time.monotonic() - begun)
        try:
            part = await asyncio.wait_for(anext(stream), left_s)
        except StopAsyncIteration:
            return
        body.add(part)
        if body.size > (1 + DISCARDED_TIMES) * body.limit:
            return


def _too_large(found: str, max_bytes: int) -> Refusal:
    return refused(
        413,
        "the request is too large",
        expected=f"at most {max_bytes} bytes",
        found=f"{found[:20]} bytes",
        next_step="send smaller or fewer pictures, or start the service with a larger "
        "--max-upload-mb",
    )
