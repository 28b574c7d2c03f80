"""One file at one address, http(s) or file: what it is, and its bytes from any position on.

Nothing is tried twice here and nothing is written; ``harness.files.fetch`` does both.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import IncompleteRead
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from harness.core.errors import IntegrityError, NotServedError, RunFailedError

if TYPE_CHECKING:
    import requests

SCHEMES = ("http", "https", "file")
CHUNK_BYTES = 1 << 16

#: Answers that mean: not now.
PASSING = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
)

#: Answers that mean: not here. Amazon's storage says FORBIDDEN where listing is not allowed.
ABSENT = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE)

ANOTHER_MIRROR = "name another place that has the same layout: --mirror URL"


class BrokenOff(Exception):
    """The connection failed in a way that may pass: reset, timeout, cut short, server error.

    cut_short: the server ended the file early as if it were complete.
    """

    def __init__(self, reason: str, *, cut_short: bool = False) -> None:
        super().__init__(reason)
        self.cut_short = cut_short


class Changed(Exception):
    """The file at the address is no longer the one whose first bytes we have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A file at an address.

    size: bytes, None when the server does not say. validator: what changes when the content does
    (ETag, else the time of the last change), None when there is neither. ranges: whether it can be
    read from any position.
    """

    url: str
    size: int | None
    validator: str | None
    ranges: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """An open HTTP session and its patience."""

    session: requests.Session
    timeout_s: float


@contextmanager
def transport(timeout_s: float) -> Iterator[Transport]:
    """A way to addresses that keeps its connections; one for each thread.

    timeout_s: how long a server may be silent.
    """
    import requests

    with requests.Session() as session:
        # A compressed transfer would have other lengths and positions than the file.
        session.headers["Accept-Encoding"] = "identity"
        yield Transport(session=session, timeout_s=timeout_s)


def look(transport: Transport, url: str) -> Remote:
    """What is at ``url``. Raises BrokenOff, or a HarnessError that names the address."""
    if urlsplit(url).scheme == "file":
        status = _local(url).stat()
        return Remote(url=url, size=status.st_size, validator=f"{status.st_mtime_ns}", ranges=True)
    try:
        with _answered(transport, url, 0, 1) as response:
            return Remote(
                url=url,
                size=_size(response),
                validator=_validator(response),
                ranges=response.status_code == HTTPStatus.PARTIAL_CONTENT,
            )
    except Changed:
        raise IntegrityError(f"{url}: the file is empty", hint=ANOTHER_MIRROR) from None


@contextmanager
def read_span(
    transport: Transport, remote: Remote, start: int, end: int
) -> Iterator[Iterator[bytes]]:
    """The bytes of ``remote`` from ``start`` up to ``end``; all of them where it has no ranges.

    Raises BrokenOff, Changed when the address now holds something else, or a HarnessError. The
    chunks may end early without an error; the caller counts.
    """
    if urlsplit(remote.url).scheme == "file":
        if look(transport, remote.url) != remote:
            raise Changed
        yield _local_chunks(_local(remote.url), start, end)
        return
    with _answered(transport, remote.url, start, end) as response:
        partial = response.status_code == HTTPStatus.PARTIAL_CONTENT
        found = (partial, _size(response), _validator(response))
        if found != (remote.ranges, remote.size, remote.validator):
            raise Changed
        if partial and not response.headers["Content-Range"].startswith(f"bytes {start}-"):
            raise BrokenOff(f"{remote.url}: the server sent other bytes than were asked for")
        yield _chunks(response)


@contextmanager
def _answered(transport: Transport, url: str, start: int, end: int) -> Iterator[requests.Response]:
    import requests

    try:
        response = transport.session.get(
            url,
            headers={"Range": f"bytes={start}-{end - 1}"},
            stream=True,
            timeout=transport.timeout_s,
        )
    except (requests.ConnectionError, requests.Timeout) as error:
        raise BrokenOff(f"{url}: {_reason(error)}") from error
    except requests.RequestException as error:
        raise RunFailedError(f"{url}: {error}") from error
    with closing(response):
        _require_content(response, url)
        yield response


def _require_content(response: requests.Response, url: str) -> None:
    code = response.status_code
    said = f"{url}: the server answered {code} {response.reason}"
    if code in PASSING or code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise BrokenOff(said)
    if code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        raise Changed
    if code in ABSENT:
        raise NotServedError(said, hint=ANOTHER_MIRROR)
    if code not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        raise RunFailedError(said, hint=ANOTHER_MIRROR)
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise IntegrityError(
            f"{url}: the server answered with a web page instead of the file", hint=ANOTHER_MIRROR
        )


def _size(response: requests.Response) -> int | None:
    """Length of the whole file, from ``Content-Range: bytes 0-0/123`` or ``Content-Length``."""
    if response.status_code == HTTPStatus.PARTIAL_CONTENT:
        text = response.headers.get("Content-Range", "").rpartition("/")[2]
    else:
        text = response.headers.get("Content-Length", "")
    return int(text) if text.isdigit() else None


def _validator(response: requests.Response) -> str | None:
    return response.headers.get("ETag") or response.headers.get("Last-Modified")


def _chunks(response: requests.Response) -> Iterator[bytes]:
    import requests

    try:
        yield from response.iter_content(CHUNK_BYTES)
    except requests.RequestException as error:
        if not isinstance(_cause(error), IncompleteRead):  # that one the caller notices
            raise BrokenOff(f"{response.url}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    cause = _cause(error)
    return str(cause) or type(cause).__name__


def _cause(error: BaseException) -> BaseException:
    """The innermost cause: the outer ones repeat the address and show object ids."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error


def _local(url: str) -> Path:
    path = Path(unquote(urlsplit(url).path))
    if not path.is_file():
        raise NotServedError(f"{url}: no such file", hint=ANOTHER_MIRROR)
    return path


def _local_chunks(path: Path, start: int, end: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while start < end and (chunk := file.read(min(CHUNK_BYTES, end - start))):
            start += len(chunk)
            yield chunk
