"""One file at one address, http(s) or file: what it is, and its bytes from any position on.

Nothing is tried twice here and nothing is written; ``harness.files.fetch`` does both. Whatever a
server answers, each function returns or raises BrokenOff, Changed or a HarnessError.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException, IncompleteRead
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

from harness.core.errors import HarnessError, IntegrityError, NotServedError, RunFailedError
from harness.core.printable import shown_text

if TYPE_CHECKING:
    import requests

    from harness.files.watch import Watch

SCHEMES = ("http", "https", "file")
CHUNK_BYTES = 1 << 16

#: Status codes that mean: not now.
PASSING = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
)

#: Status codes that mean: not here. Amazon's storage says FORBIDDEN where listing is not allowed.
ABSENT = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE)

REDIRECTS = (
    HTTPStatus.MOVED_PERMANENTLY,
    HTTPStatus.FOUND,
    HTTPStatus.SEE_OTHER,
    HTTPStatus.TEMPORARY_REDIRECT,
    HTTPStatus.PERMANENT_REDIRECT,
)
MOST_REDIRECTS = 10

#: The rate is measured over this many time-outs: one that is silent runs into the time-out first.
WINDOWS = 2

#: ASCII digits only (int() and str.isdigit() accept others), below a thousand terabytes.
LENGTH = re.compile(r"[0-9]{1,15}")
CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15}|\*)", re.IGNORECASE)

#: How much of what a server said is repeated in a message.
QUOTED_CHARACTERS = 200

ANOTHER_MIRROR = "name another place that has the same layout: --mirror URL"


class BrokenOff(Exception):
    """The connection failed in a way that may pass: reset, time-out, cut short, server error.

    Attributes:
        cut_short: The server ended the file early as if it were complete.
    """

    def __init__(self, reason: str, *, cut_short: bool = False) -> None:
        super().__init__(reason)
        self.cut_short = cut_short


class Changed(Exception):
    """The file at the address is no longer the one whose first bytes we have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A file at an address."""

    url: str
    """Its address."""

    size: int | None
    """Bytes; None when the server does not say."""

    validator: str | None
    """What changes when the content does: the ETag, else the time of the last change, else None."""

    ranges: bool
    """Whether it can be read from any position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """An open HTTP session."""

    session: requests.Session
    """Keeps its connections."""

    watch: Watch
    """Cuts a request that is too slow."""

    timeout_s: float
    """How long a server may be silent."""


@contextmanager
def transport(timeout_s: float, least_bytes_per_s: float) -> Iterator[Transport]:
    """Open a session that keeps its connections; each thread needs its own.

    Args:
        timeout_s: How long a server may be silent.
        least_bytes_per_s: A server that sends less over WINDOWS times as long is cut off.
    """
    from harness.files.watch import Watch, watched_session

    watch = Watch(window_s=WINDOWS * timeout_s, least_bytes_per_s=least_bytes_per_s)
    with watched_session(watch) as session:
        # A compressed transfer would have other lengths and positions than the file.
        session.headers["Accept-Encoding"] = "identity"
        yield Transport(session=session, watch=watch, timeout_s=timeout_s)


def look(transport: Transport, url: str) -> Remote:
    """Ask what is at an address.

    Raises:
        BrokenOff: The connection failed in a way that may pass.
        HarnessError: There is no usable file; the message names the address.
    """
    if urlsplit(url).scheme == "file":
        status = _local(url).stat()
        validator = f"{status.st_mtime_ns}"
        return _filled(Remote(url=url, size=status.st_size, validator=validator, ranges=True))
    try:
        with _answered(transport, url, 0, 1) as response:
            partial = response.status_code == HTTPStatus.PARTIAL_CONTENT
            if partial and _content_range(response) is None:
                raise RunFailedError(
                    f"{url}: the server sent a part of the file without saying which: "
                    f"Content-Range {_quoted(response.headers.get('Content-Range', 'missing'))}",
                    hint=ANOTHER_MIRROR,
                )
            return _filled(
                Remote(
                    url=url, size=_size(response), validator=_validator(response), ranges=partial
                )
            )
    except Changed:
        raise _empty(url) from None


@contextmanager
def read_span(
    transport: Transport, remote: Remote, start: int, end: int
) -> Iterator[Iterator[bytes]]:
    """Read the bytes of a file from ``start`` up to ``end``; all of them where it has no ranges.

    Returns:
        Chunks of at most CHUNK_BYTES. They may end early without an error, or go beyond ``end``
        when the server sends more than it was asked for; the caller counts.

    Raises:
        BrokenOff: The connection failed in a way that may pass.
        Changed: The address holds something else now.
        HarnessError: The address is not served any more.
    """
    if urlsplit(remote.url).scheme == "file":
        if look(transport, remote.url) != remote:
            raise Changed
        yield _local_chunks(_local(remote.url), start, end)
        return
    with _answered(transport, remote.url, start, end) as response:
        partial = response.status_code == HTTPStatus.PARTIAL_CONTENT
        span = _content_range(response)
        if partial and (span is None or span[0] != start):
            raise BrokenOff(f"{remote.url}: the server sent other bytes than were requested")
        found = (partial, _size(response), _validator(response))
        if found != (remote.ranges, remote.size, remote.validator):
            raise Changed
        yield _chunks(transport.watch, response)
        if response.raw.length_remaining == 0:
            # All was read: this read waits for nothing, and frees the connection for the next span.
            response.raw.read1(1, decode_content=False)


@contextmanager
def _answered(transport: Transport, url: str, start: int, end: int) -> Iterator[requests.Response]:
    headers = {"Range": f"bytes={start}-{end - 1}"}
    with transport.watch.request(), closing(_response(transport, url, headers)) as response:
        _require_content(response, url)
        yield response


def _response(transport: Transport, url: str, headers: dict[str, str]) -> requests.Response:
    """The answer of the address, or of the one it was moved to."""
    address = url
    for _ in range(MOST_REDIRECTS + 1):
        response = _requested(transport, url, address, headers)
        if response.status_code not in REDIRECTS:
            return response
        response.close()  # whatever else it says is not read
        address = _redirected(url, address, response.headers.get("Location", ""))
    raise RunFailedError(
        f"{url}: the server redirects more than {MOST_REDIRECTS} times", hint=ANOTHER_MIRROR
    )


def _requested(
    transport: Transport, url: str, address: str, headers: dict[str, str]
) -> requests.Response:
    import requests
    from urllib3.exceptions import HTTPError

    try:
        return transport.session.get(
            address,
            headers=headers,
            stream=True,
            timeout=transport.timeout_s,
        )
    except (requests.ConnectionError, requests.Timeout) as error:
        raise BrokenOff(f"{url}: {_reason(transport.watch, error)}") from error
    except (requests.RequestException, HTTPError, HTTPException, ValueError) as error:
        # Also what the libraries fail with over names, ports and headers that are none.
        message = f"{url}: {_reason(transport.watch, error)}"
        raise RunFailedError(message, hint=ANOTHER_MIRROR) from error


def _redirected(url: str, address: str, location: str) -> str:
    """The next address; headers arrive as Latin-1, whatever they are."""
    try:
        target = urljoin(address, location.encode("latin-1").decode("utf-8"))
        parts = urlsplit(target)
        _ = parts.port  # parsed when it is read
        usable = location != "" and parts.scheme in ("http", "https") and bool(parts.hostname)
        usable = usable and not (parts.scheme == "http" and urlsplit(address).scheme == "https")
    except ValueError:
        usable = False
    if not usable:
        raise RunFailedError(
            f"{url}: the server redirects to {_quoted(location or 'nowhere')}, which is not an "
            "address that may be followed",
            hint=ANOTHER_MIRROR,
        )
    return target


def _require_content(response: requests.Response, url: str) -> None:
    code = response.status_code
    reason = shown_text(response.reason or "", QUOTED_CHARACTERS)
    said = f"{url}: the server answered {code} {reason}".rstrip()
    if code in PASSING or code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise BrokenOff(said)
    if code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        raise Changed
    if code in ABSENT:
        raise NotServedError(said, hint=ANOTHER_MIRROR)
    if code not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        raise RunFailedError(said, hint=ANOTHER_MIRROR)
    kind = response.headers.get("Content-Type", "").strip().lower()
    if kind.startswith(("text/html", "multipart/")):
        what = "a web page instead of the file" if kind.startswith("text/") else "several parts"
        raise IntegrityError(f"{url}: the server answered with {what}", hint=ANOTHER_MIRROR)
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise IntegrityError(
            f"{url}: the server sends the file compressed ({_quoted(encoding)}) where that was "
            "excluded: its lengths would not be the file's",
            hint=ANOTHER_MIRROR,
        )


def _content_range(response: requests.Response) -> tuple[int, int, int | None] | None:
    """First byte, last byte and length of the whole file; None where there is no such header."""
    found = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if found is None:
        return None
    return int(found[1]), int(found[2]), None if found[3] == "*" else int(found[3])


def _size(response: requests.Response) -> int | None:
    """Length of the whole file, from ``Content-Range: bytes 0-0/123`` or ``Content-Length``."""
    if response.status_code == HTTPStatus.PARTIAL_CONTENT:
        span = _content_range(response)
        return None if span is None else span[2]
    text = response.headers.get("Content-Length", "").strip()
    return int(text) if LENGTH.fullmatch(text) else None


def _validator(response: requests.Response) -> str | None:
    return response.headers.get("ETag") or response.headers.get("Last-Modified")


def _filled(remote: Remote) -> Remote:
    if remote.size == 0:
        raise _empty(remote.url)
    return remote


def _empty(url: str) -> HarnessError:
    return IntegrityError(f"{url}: the file is empty", hint=ANOTHER_MIRROR)


def _chunks(watch: Watch, response: requests.Response) -> Iterator[bytes]:
    """The content as it arrives; a read never waits for more than is there."""
    from urllib3.exceptions import HTTPError

    try:
        while chunk := response.raw.read1(CHUNK_BYTES, decode_content=False):
            watch.arrived(len(chunk))
            yield chunk
    except (HTTPError, HTTPException, OSError, ValueError) as error:
        if watch.too_slow or not isinstance(_cause(error), IncompleteRead):
            raise BrokenOff(f"{response.url}: {_reason(watch, error)}") from error
    if watch.too_slow:
        raise BrokenOff(f"{response.url}: {_too_slow(watch)}")


def _reason(watch: Watch, error: Exception) -> str:
    if watch.too_slow:
        return _too_slow(watch)
    cause = _cause(error)
    said = " ".join(str(cause).split())  # it may hold what the server sent
    return shown_text(said, QUOTED_CHARACTERS) or type(cause).__name__


def _too_slow(watch: Watch) -> str:
    return f"less than {watch.least_bytes_per_s:,.0f} bytes a second arrived"


def _cause(error: BaseException) -> BaseException:
    """The innermost cause: the outer ones repeat the address and show object ids."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error


def _quoted(text: str) -> str:
    return repr(text[:QUOTED_CHARACTERS])


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
