"""A real HTTP server on loopback with real faults, one fault a request, in the order given.

It has two uses: tests of downloads, and ``benchmarks/download_vs_curl.py``.
"""

from __future__ import annotations

import hashlib
import re
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong with one request.

    status: answer this instead of the file. after: send so many bytes of the body and then
    ``reset`` the connection, ``close`` it properly, or go silent until the server is released.
    surplus: send the whole span and then these bytes as well, of a length that is not announced.
    """

    status: int | None = None
    after: int = 0
    then: str = "close"
    surplus: bytes = b""


@dataclass
class Site:
    """Files by path, and how they are served.

    faults: by path, taken one a request once the file's size is known (a request for its first
    byte alone never fails, so that a test says which request of the content does).
    connection_bytes_per_s: what one connection gets, None for no limit. requests: what was asked
    for, as (path, first byte, bytes sent).
    """

    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    ranges: bool = True
    validators: bool = True
    lengths: bool = True
    content_type: str = "application/octet-stream"
    connection_bytes_per_s: float | None = None
    url: str = ""
    requests: list[tuple[str, int, int]] = field(default_factory=list)
    silent: Event = field(default_factory=Event)
    release: Event = field(default_factory=Event)
    lock: Lock = field(default_factory=Lock)

    def sent(self, path: str) -> int:
        """Bytes of the content that were sent, without those that only asked for its size."""
        return sum(count for name, _, count in self.requests if name == path and count > 1)


@lru_cache
def tag_of(content: bytes) -> str:
    """The ETag of a file."""
    return f'"{hashlib.md5(content).hexdigest()}"'


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    """``site`` at ``site.url`` until the block ends."""

    class Handler(_Handler):
        pass

    Handler.site = site

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """Nothing: clients that go away are part of the tests."""

    with Server(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        site.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield site
        finally:
            site.release.set()
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        site, content = self.site, self.site.files.get(self.path)
        if content is None:
            return self.send_error(404)
        start, end = 0, len(content)
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        probe = asked is not None and asked.groups() == ("0", "0")
        with site.lock:
            faults = site.faults.get(self.path, [])
            fault = faults.pop(0) if faults and not probe else None
        if fault is not None and fault.status is not None:
            return self.send_error(fault.status)
        if asked and site.ranges:
            start, end = int(asked[1]), min(int(asked[2]) + 1, end)
            if start >= len(content):
                return self.send_error(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        else:
            self.send_response(200)
        self._send_facts(content, end - start, announced=fault is None or not fault.surplus)
        self._send_body(content, start, end, fault)

    def _send_facts(self, content: bytes, length: int, *, announced: bool) -> None:
        if self.site.lengths and announced:
            self.send_header("Content-Length", str(length))
        else:
            self.send_header("Connection", "close")
        if self.site.validators:
            self.send_header("ETag", tag_of(content))
        self.send_header("Content-Type", self.site.content_type)
        self.end_headers()

    def _send_body(self, content: bytes, start: int, end: int, fault: Fault | None) -> None:
        stop = end if fault is None or fault.surplus else min(start + fault.after, end)
        with self.site.lock:
            self.site.requests.append((self.path, start, stop - start))
        try:
            self._write(memoryview(content)[start:stop])
            if fault is not None:
                self._write(memoryview(fault.surplus))
        except OSError:  # the client went away, as one that only wants the size may
            self.close_connection = True
            return
        if fault is None:
            return
        self.close_connection = True
        if fault.then == "silence":
            self.site.silent.set()
            self.site.release.wait(30)
        elif fault.then == "reset":
            # Closing with unsent data discarded sends RST instead of FIN.
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()

    def _write(self, content: memoryview) -> None:
        rate = self.site.connection_bytes_per_s
        if rate is None:
            self.wfile.write(content)
            return
        step, begun = int(rate / 20), time.monotonic()
        for position in range(0, len(content), step):
            self.wfile.write(content[position : position + step])
            time.sleep(max(0.0, begun + (position + step) / rate - time.monotonic()))

    def log_message(self, *_: Any) -> None:
        """Nothing: requests are recorded in the site."""
