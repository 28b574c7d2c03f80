"""uvicorn with limits of time: for silent connections, slow readers, and the end of the process."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

#: Connections at the same time; further ones are closed as they arrive.
MOST_CONNECTIONS = 400

#: Seconds from a connection, or from the first byte of a further request on it, to the end of its
#: headers.
HEAD_S = 10.0

#: A client that reads more slowly than this for so long is disconnected.
STALLED_S = 15.0
SLOWEST_BYTES_PER_S = 1000

#: Chunks of a body, and one more for each so many bytes of it: programs send kilobytes in each, and
#: reading one takes the event loop tens of microseconds. Chosen.
MOST_SMALL_CHUNKS = 1000
SMALL_CHUNK_BYTES = 128

#: States in which no response was begun.
_UNANSWERED = (h11.IDLE, h11.SEND_RESPONSE)

#: Requests that are being answered when the service receives a signal get so long to finish.
LAST_ANSWERS_S = 20.0

#: This long after the signal the process kills itself, whatever it is doing.
ENDED_S = 29.0


class ChunkBounded(h11.Connection):
    """HTTP/1.1 of a server, without bodies in so many small chunks that they hold the event loop.

    All chunks that arrived are read at once, before any other connection has its turn.
    """

    def __init__(self) -> None:
        """Begin a connection."""
        super().__init__(h11.SERVER)
        self._chunks = self._bytes = 0

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Read what comes next.

        Raises:
            h11.RemoteProtocolError: It is not HTTP, or the body has too many small chunks.
        """
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks = self._bytes = 0
        elif isinstance(event, h11.Data):
            self._chunks += event.chunk_start
            self._bytes += len(event.data)
            if self._chunks > MOST_SMALL_CHUNKS + self._bytes // SMALL_CHUNK_BYTES:
                raise h11.RemoteProtocolError("too many small chunks")
        return event


class TimedConnection(H11Protocol):
    """A connection that is closed when its client sends no headers or does not read its answer."""

    _head: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **settings: Any) -> None:
        """Begin a connection with uvicorn's arguments."""
        super().__init__(*args, **settings)
        self.conn = ChunkBounded()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request.

        Args:
            transport: The new connection; closed at once where there are too many.
        """
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        else:
            self._time_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        for timer in (self._head, self._stalled):
            if timer is not None:
                timer.cancel()
        self._head = self._stalled = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Process ``data``; the timer runs until the headers of a request are complete."""
        super().data_received(data)
        self._time_head()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP; only close the connection where a response was begun before.

        Args:
            msg: The answer.
        """
        if self.conn.our_state in _UNANSWERED:
            super().send_400_response(msg)
        else:
            self.transport.close()

    def pause_writing(self) -> None:
        """Begin to measure how fast the client reads."""
        super().pause_writing()
        self._watch_reader(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Stop measuring how fast the client reads."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _is_waiting(self) -> bool:
        """Return whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _time_head(self) -> None:
        """Start the timer for the headers of the next request, or stop it."""
        if not self._is_waiting():
            if self._head is not None:
                self._head.cancel()
                self._head = None
        elif self._head is None and not self.transport.is_closing():
            self._head = self.loop.call_later(HEAD_S, self._head_overdue)

    def _head_overdue(self) -> None:
        self._head = None
        if self._is_waiting():
            self.transport.abort()

    def _watch_reader(self, before: int) -> None:
        """Check again after a while whether the client read enough."""
        self._stalled = self.loop.call_later(STALLED_S, self._look_at_reader, before)

    def _look_at_reader(self, before: int) -> None:
        """Disconnect a client that reads too slowly.

        Args:
            before: Bytes that waited for the client at the last check.
        """
        left = self.transport.get_write_buffer_size()
        if before - left < STALLED_S * SLOWEST_BYTES_PER_S:
            self._stalled = None
            # Reset it: otherwise the kernel would keep what the client does not read.
            waiting = self.transport.get_extra_info("socket")
            waiting.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        else:
            self._watch_reader(left)


class Deadline:
    """Kills this process a fixed time after a signal, whatever its threads are doing.

    Attributes:
        before: Called just before the process is killed.
    """

    def __init__(self, seconds: float, *, notice: Callable[[str], None]) -> None:
        """Prepare the deadline; it does not run yet.

        Args:
            seconds: From ``start`` to the end of the process.
            notice: Called with one line when the deadline was missed.
        """
        self._seconds = seconds
        self._notice = notice
        self.before: Callable[[], None] = lambda: None
        self._met = threading.Event()
        self._started = False

    def start(self) -> None:
        """Start the timer; a second call changes nothing."""
        if not self._started:
            self._started = True
            threading.Thread(target=self._wait, name="deadline", daemon=True).start()

    @contextmanager
    def at_end(self) -> Iterator[None]:
        """Start the timer when the block ends, before anything around the block is closed."""
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def met(self) -> Iterator[None]:
        """Stop the timer when the block ends: everything was closed in time."""
        try:
            yield
        finally:
            self._met.set()

    def _wait(self) -> None:
        if not self._met.wait(self._seconds):
            try:
                self._notice(
                    f"error: not all had ended {self._seconds:g} s after the signal; killed"
                )
                self.before()
            finally:  # no exception ends a process whose threads are at work in C
                os.kill(os.getpid(), signal.SIGKILL)


class Server(uvicorn.Server):
    """A uvicorn server that reports the first signal."""

    def __init__(self, app: Any, *, on_end: Callable[[], None]) -> None:
        """Configure the server.

        Args:
            app: The ASGI application.
            on_end: Called when the process receives a signal to end.
        """
        super().__init__(
            uvicorn.Config(
                app,
                http=TimedConnection,
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=int(LAST_ANSWERS_S),
            )
        )
        self._on_end = on_end

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Report the signal, then let uvicorn end."""
        self._on_end()
        super().handle_exit(sig, frame)
