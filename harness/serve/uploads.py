"""The body of a request: read within its limit, taken apart into files."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from harness.serve.failures import Refusal, refused
from harness.serve.images import Upload

#: The part of a form that holds a picture; several may have this name.
FIELD = "file"

#: Of a body that is refused for its size, so much more is read and thrown away: a client that is
#: still sending would otherwise meet a closed connection instead of the reason.
DISCARDED_TIMES = 8
DISCARDED_S = 10.0

#: A body that takes longer gives its place in the queue to others.
BODY_S = 120.0

CURL = "curl -F file=@photo.jpg, or: curl -H 'Content-Type: image/jpeg' --data-binary @photo.jpg"


@dataclass(slots=True)
class Body:
    """What was read of a body so far."""

    limit: int
    size: int = 0
    parts: list[bytes] = field(default_factory=list)

    def add(self, part: bytes) -> None:
        """Keep ``part``, and nothing any more once the whole is too large."""
        self.size += len(part)
        if self.size <= self.limit:
            self.parts.append(part)
        else:
            self.parts.clear()


async def read_uploads(request: Request, *, max_bytes: int, most: int) -> list[Upload]:
    """The pictures of a request, one or more, in order.

    They come as parts ``file`` of a form, or as one body of an image type. most: how many there may
    be. Raises Refusal: 408, 413, 415, or 422 for a form without them.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    raw = kind.startswith("image/") or kind == "application/octet-stream"
    if kind != "multipart/form-data" and not raw:
        await discard(request, max_bytes)
        raise refused(
            415,
            "the body is of a type that is no picture",
            expected="multipart/form-data, image/*, or application/octet-stream",
            found=kind or "no Content-Type",
            next_step=f"try: {CURL}",
        )
    content = await _read(request, max_bytes)
    if raw:
        return [Upload(name="the body", content=content)]
    uploads = await _files_of(request, content)
    if len(uploads) > most:
        raise refused(
            413,
            "too many pictures in one request",
            expected=f"at most {most}",
            found=str(len(uploads)),
            next_step="send them in several requests",
        )
    return uploads


async def discard(request: Request, max_bytes: int) -> None:
    """Read the rest of a body that nobody wants, up to a limit of size and time.

    Nothing is read where the client waits to hear whether it should send the body at all.
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
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > max_bytes:
        await discard(request, max_bytes)
        raise _too_large(announced, max_bytes)
    body = Body(max_bytes)
    try:
        await asyncio.wait_for(_fill(request, body), BODY_S)
    except asyncio.TimeoutError:
        raise refused(
            408,
            "the body did not arrive in time",
            expected=f"all of it within {BODY_S:g} s",
            found=f"{body.size} bytes",
            next_step="send it again, or a smaller picture",
        ) from None
    if body.size > max_bytes:
        raise _too_large(f"more than {max_bytes}", max_bytes)
    return b"".join(body.parts)


async def _fill(request: Request, body: Body) -> None:
    async for part in request.stream():
        body.add(part)
        if body.size > (1 + DISCARDED_TIMES) * body.limit:
            return


async def _files_of(request: Request, content: bytes) -> list[Upload]:
    async def replay() -> dict[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    # What arrived is parsed from memory: its size is within the limit already.
    again = Request(request.scope, replay)
    try:
        async with again.form() as form:
            fields = form.multi_items()
            files = [value for _, value in fields if isinstance(value, UploadFile)]
            _require_files(fields, files)
            return [
                Upload(name=file.filename or f"picture {number}", content=await file.read())
                for number, file in enumerate(files, start=1)
            ]
    except (MultiPartException, HTTPException) as error:
        detail = error.detail if isinstance(error, HTTPException) else error.message
        raise refused(
            422,
            "the form cannot be read",
            expected=f"parts named {FIELD}",
            found=str(detail),
            next_step=f"try: {CURL}",
        ) from None


def _require_files(fields: Sequence[tuple[str, Any]], files: Sequence[UploadFile]) -> None:
    others = sorted({name for name, _ in fields if name != FIELD})
    if files and not others and len(files) == len(fields):
        return
    raise _misnamed(others) if others else _not_a_file(bool(fields))


def _misnamed(others: Sequence[str]) -> Refusal:
    return refused(
        422,
        "the form has other parts than pictures",
        expected=f"parts named {FIELD}; settings go into the address: ?threshold=0.5",
        found=", ".join(others),
        next_step=f"try: {CURL}",
    )


def _not_a_file(named: bool) -> Refusal:
    return refused(
        422,
        f"the part {FIELD} is text, not a file" if named else "the form is empty",
        expected=f"a part named {FIELD} with a file",
        found="text" if named else "no part",
        next_step="with curl, mind the @: curl -F file=@photo.jpg",
    )


def _too_large(found: str, max_bytes: int) -> Refusal:
    return refused(
        413,
        "the request is too large",
        expected=f"at most {max_bytes} bytes",
        found=f"{found} bytes",
        next_step="send smaller or fewer pictures, or start the service with a larger "
        "--max-upload-mb",
    )
