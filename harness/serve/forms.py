"""Forms of uploaded files, parsed in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from harness.core.printable import one_line
from harness.serve.failures import Refusal, refused
from harness.serve.images import Upload

#: The part of a form that holds an image; several may have this name.
FIELD = "file"

CURL = "curl -F file=@photo.jpg, or: curl -H 'Content-Type: image/jpeg' --data-binary @photo.jpg"

#: Characters of a file's name that are kept, for messages.
NAME_LENGTH = 200


def files_of_form(content_type: str, content: bytes, *, most: int) -> list[Upload]:
    """Parse a form.

    Args:
        content_type: The header of the request, with the boundary.
        content: The whole body.
        most: The maximum number of files.

    Returns:
        The files, in order; names are those of the client, cut off and without control characters.

    Raises:
        Refusal: 422 where it is not a form of files, 413 where it has too many.
    """
    headers = Headers(raw=[(b"content-type", content_type.encode("latin-1"))])
    parser = MultiPartParser(headers, _all_at_once(content))
    parser.spool_max_size = len(content) + 1  # nothing that is sent reaches the disk
    try:
        form = asyncio.run(parser.parse())
    except MultiPartException as error:
        raise refused(
            422,
            "the form cannot be read",
            expected=f"parts named {FIELD}",
            found=error.message,
            next_step=f"try: {CURL}",
        ) from None
    fields = form.multi_items()
    files = [value for _, value in fields if isinstance(value, UploadFile)]
    _require_files(fields, files)
    if len(files) > most:
        raise refused(
            413,
            "too many images in one request",
            expected=f"at most {most}",
            found=str(len(files)),
            next_step="send them in several requests",
        )
    return [
        Upload(name=_plain(file.filename) or f"picture {number}", content=file.file.read())
        for number, file in enumerate(files, start=1)
    ]


async def _all_at_once(content: bytes) -> AsyncGenerator[bytes, None]:
    yield content


def _plain(name: str | None) -> str:
    return one_line((name or "")[:NAME_LENGTH])


def _require_files(fields: Sequence[tuple[str, Any]], files: Sequence[UploadFile]) -> None:
    """Check that all parts are files with the expected name.

    Raises:
        Refusal: 422 for any other part, or none.
    """
    others = sorted({name for name, _ in fields if name != FIELD})
    if files and not others and len(files) == len(fields):
        return
    raise _misnamed(others) if others else _not_a_file(bool(fields))


def _misnamed(others: Sequence[str]) -> Refusal:
    return refused(
        422,
        "the form has other parts than images",
        expected=f"parts named {FIELD}; settings go into the address: ?threshold=0.5",
        found=_plain(", ".join(others)),
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
