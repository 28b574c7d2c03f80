"""HTTP sessions whose connections are cut when too few bytes arrive.

A time-out of the socket starts again with every byte, so a server that sends one byte now and then
would hold a connection without end: in its headers, in a chunk's length or in the content.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock, Timer
from typing import Any
from weakref import WeakSet

import requests
from requests.adapters import HTTPAdapter


class Watch:
    """Cuts the connections of one session when a request is too slow.

    A session has one request at a time. In each window of time at least so many bytes must arrive;
    the headers of an answer have one window.
    """

    def __init__(self, *, window_s: float, least_bytes_per_s: float) -> None:
        self.least_bytes_per_s = least_bytes_per_s
        self.too_slow = False
        self._window_s = window_s
        self._lock = Lock()
        # Weakly: a connection that nothing else uses any more is to be closed.
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._arrived = 0
        self._timer: Timer | None = None

    def add(self, connection: socket.socket) -> None:
        """Watch a new connection as long as something uses it."""
        with self._lock:
            self._sockets.add(connection)

    def arrived(self, count: int) -> None:
        """Count bytes of content."""
        self._arrived += count

    @contextmanager
    def request(self) -> Iterator[None]:
        """Watch one request from its first to its last byte."""
        self.too_slow = False
        self._arrive_in_window()
        try:
            yield
        finally:
            with self._lock:
                if self._timer is not None:
                    self._timer.cancel()
                self._timer = None

    def _arrive_in_window(self) -> None:
        self._arrived = 0
        self._timer = Timer(self._window_s, self._check)
        self._timer.daemon = True
        self._timer.start()

    def _check(self) -> None:
        with self._lock:
            if self._timer is None:  # the request has ended meanwhile
                return
            if self._arrived >= self.least_bytes_per_s * self._window_s:
                self._arrive_in_window()
                return
            self.too_slow = True
            for one in list(self._sockets):
                with suppress(OSError):  # closed already
                    socket.socket.shutdown(one, socket.SHUT_RDWR)  # whatever TLS would make of it


class _WatchingAdapter(HTTPAdapter):
    """Opens connections that a watch knows, directly or through a proxy."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        super().__init__()

    def get_connection_with_tls_context(self, *arguments: Any, **options: Any) -> Any:
        """Return the pool of connections of a request."""
        pool: Any = super().get_connection_with_tls_context(*arguments, **options)
        if not hasattr(pool.ConnectionCls, "watched"):
            pool.ConnectionCls = _watched(pool.ConnectionCls, self._watch)
        return pool


class _Session(requests.Session):
    """A session that leaves redirects alone.

    The library reads the whole body of a redirect, however long, even if it is not to follow it.
    """

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """None for every answer: a redirect is left to the caller."""
        return None


def _watched(base: Any, watch: Watch) -> Any:
    """A class of connections, direct, through TLS or a proxy, that the watch may cut."""

    class Connection(base):  # type: ignore[misc]
        watched = True
        _while_connecting: socket.socket | None = None

        def connect(self) -> None:
            try:
                super().connect()
            finally:
                if self._while_connecting is not None:
                    self._while_connecting.close()
                    self._while_connecting = None
            watch.add(self.sock)

        def _new_conn(self) -> socket.socket:
            opened: socket.socket = super()._new_conn()
            # The handshake of TLS works on an object of its own that is not known before its end;
            # another descriptor of the same connection can cut it.
            self._while_connecting = opened.dup()
            watch.add(self._while_connecting)
            return opened

    return Connection


@contextmanager
def watched_session(watch: Watch) -> Iterator[requests.Session]:
    """Open a session whose connections ``watch`` may cut; it is closed at the end of the block."""
    with _Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, _WatchingAdapter(watch))
        yield session
