"""Bytes from clients, parsed in processes that can be ended.

A decoder of images can be made to compute for minutes, or to crash, by a few bytes. It therefore
runs in another process, for a limited time and in limited memory: whatever it does, the event loop
answers, and the process is replaced. Requests and results are JSON and bytes; nothing that comes
back is unpickled.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import queue
import resource
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as PillowImage

from harness.core.detections import Image
from harness.files.scratch import claim_sockets
from harness.launch.local import end_with_parent
from harness.serve.failures import Fault, Refusal, refused
from harness.serve.forms import files_of_form
from harness.serve.images import Header, Upload, decode, read_header, refuse_bombs

#: Images that are parsed at the same time.
DECODERS = 2

#: Seconds for one request, and more for each megapixel that is decoded and each megabyte of a
#: form: several times what a slow machine needs for ordinary files.
LIMIT_S = 5.0
S_PER_MEGAPIXEL = 0.2
S_PER_MEGABYTE = 0.5

#: Pixels of an image whose header is read, Pillow's own limit.
HEADER_PIXELS = PillowImage.MAX_IMAGE_PIXELS

#: Seconds for a new process to be ready.
START_S = 60.0

#: Memory that a process may use beyond what it has when it begins, and for each pixel.
SPARE_BYTES = 1 << 30
BYTES_PER_PX = 40


class Answer(NamedTuple):
    """What a process returned."""

    facts: dict[str, Any]
    """Members of the JSON object; ``fault`` where the request was refused."""

    content: bytes
    """Bytes that belong to the facts: files of a form, or pixels."""


class Decoders:
    """Processes that parse what clients send. They are started when they are first needed."""

    def __init__(
        self, max_megapixels: float, *, count: int = DECODERS, limit_s: float = LIMIT_S
    ) -> None:
        """Prepare the processes; none is started yet.

        Args:
            max_megapixels: Images of more are refused.
            count: Processes.
            limit_s: Seconds for one request, before what its size adds.
        """
        self._max_megapixels = max_megapixels
        self._limit_s = limit_s
        self._idle: queue.LifoQueue[_Decoder | None] = queue.LifoQueue()
        for _ in range(count):
            self._idle.put(None)
        self._living: set[_Decoder] = set()
        self._closed = False
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="decoder")

    def start(self) -> None:
        """Start one process, so that the first image does not wait for it.

        Raises:
            TimeoutError: The process did not start in time.
        """
        decoder = self._idle.get()
        self._idle.put(decoder if decoder is not None else self._started())

    async def files_of(self, content_type: str, body: bytes, most: int) -> list[Upload]:
        """Parse a form.

        Args:
            content_type: Its header, with the boundary.
            body: The whole form.
            most: The maximum number of files.

        Returns:
            Its files, in order.

        Raises:
            Refusal: 413 or 422; 400 where it takes too long.
        """
        limit_s = self._limit_s + S_PER_MEGABYTE * len(body) / 1e6
        question = {"what": "form", "name": "the form", "content_type": content_type, "most": most}
        facts, content = await self._asked(question, body, limit_s)
        files, start = [], 0
        for name, size in facts["files"]:
            files.append(Upload(name=name, content=content[start : start + size]))
            start += size
        return files

    async def header_of(self, upload: Upload) -> Header:
        """Read format, size and notes of an image; no pixels are decoded.

        Args:
            upload: The file.

        Raises:
            Refusal: As ``read_header``; 400 where it takes too long.
        """
        question = {"what": "header", "name": upload.name}
        facts, _ = await self._asked(question, upload.content, self._limit_s)
        return Header(**{**facts, "notes": tuple(facts["notes"])})

    async def decode(self, upload: Upload, header: Header) -> Image:
        """Decode an image.

        Args:
            upload: The file.
            header: What ``header_of`` read of it; its size sets the time limit.

        Returns:
            The image, upright, (H, W, 3) uint8 in BGR order.

        Raises:
            Refusal: As ``images.decode``; 400 where it takes too long.
        """
        pixels = header.width_px * header.height_px
        limit_s = self._limit_s + S_PER_MEGAPIXEL * pixels / 1e6
        question = {"what": "pixels", "name": upload.name}
        facts, content = await self._asked(question, upload.content, limit_s)
        shape = (facts["height_px"], facts["width_px"], 3)
        decoded = np.frombuffer(content, dtype=np.uint8).reshape(shape).copy()
        return Image(image_id=0, pixels_bgr=decoded)

    def close(self) -> None:
        """End all processes at once, also those at work."""
        self._closed = True
        for decoder in list(self._living):
            decoder.kill()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _asked(self, question: dict[str, Any], content: bytes, limit_s: float) -> Answer:
        """Return what a process sends back.

        Raises:
            Refusal: The process refused the request, crashed, or took too long.
        """
        ask = partial(self._ask, question, content, limit_s)
        answer = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        if "fault" in answer.facts:
            raise Refusal(Fault(**answer.facts["fault"]))
        return answer

    def _ask(self, question: dict[str, Any], content: bytes, limit_s: float) -> Answer:
        """Return the answer of a free process; called in a thread, which waits for it."""
        decoder = self._idle.get()
        try:
            if decoder is None or not decoder.is_alive():
                decoder = self._started()
            return decoder.ask(question, content, limit_s)
        except (TimeoutError, EOFError, OSError) as error:
            if decoder is not None:
                decoder.end()
                self._living.discard(decoder)
            decoder = None
            raise _unparsed(question["name"], len(content), error, limit_s) from None
        finally:
            self._idle.put(decoder)

    def _started(self) -> _Decoder:
        """Start a process and wait until it is ready."""
        decoder = _Decoder(self._max_megapixels)
        self._living.add(decoder)
        if self._closed:
            decoder.kill()
        decoder.wait_until_ready()
        return decoder


class _Decoder:
    """One process, and the connection to it."""

    def __init__(self, max_megapixels: float) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        claim_sockets()
        self._connection, inner = context.Pipe()
        self._process = context.Process(
            target=_work, args=(inner, max_megapixels), name="decoder", daemon=True
        )
        self._process.start()
        inner.close()

    def wait_until_ready(self) -> None:
        """Wait for the first message of the process.

        Raises:
            TimeoutError: It did not come in time.
        """
        if not self._connection.poll(START_S):
            raise TimeoutError("did not start")
        self._connection.recv_bytes()

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def ask(self, question: dict[str, Any], content: bytes, limit_s: float) -> Answer:
        """Send one request and return the answer.

        Raises:
            TimeoutError: There was no answer within ``limit_s``.
        """
        self._connection.send_bytes(json.dumps(question).encode("utf-8"))
        self._connection.send_bytes(content)
        if not self._connection.poll(limit_s):
            raise TimeoutError("too slow")
        facts = json.loads(self._connection.recv_bytes())
        return Answer(facts, self._connection.recv_bytes())

    def kill(self) -> None:
        """End the process; a thread that waits for its answer gets an EOFError."""
        with suppress(OSError, ValueError, AttributeError):
            self._process.kill()

    def end(self) -> None:
        """End the process; called by the thread that uses it."""
        self.kill()
        self._connection.close()
        self._process.join()


def _unparsed(name: str, size: int, error: Exception, limit_s: float) -> Refusal:
    """Return the refusal (400) of what no process could parse."""
    slow = isinstance(error, TimeoutError)
    return refused(
        400,
        f"{name} takes too long to be read" if slow else f"{name} cannot be read",
        expected=f"a file that is read within {limit_s:.0f} s" if slow else "a whole file",
        found=f"{size} bytes that are not" if slow else f"{size} bytes that end their reader",
        next_step="save it again with another program, for instance as a plain JPEG or PNG",
    )


def _work(connection: Connection, max_megapixels: float) -> None:
    """Process requests until the service closes the connection; the main function of a process."""
    # A terminal or a service manager signals the whole group: requests at work are still answered.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    end_with_parent(signal.SIGKILL)  # also in the middle of an image
    _limit_memory(max_megapixels)
    with suppress(EOFError, OSError):
        connection.send_bytes(b"ready")
        while True:
            question = json.loads(connection.recv_bytes())
            facts, content = _answered(question, connection.recv_bytes(), max_megapixels)
            connection.send_bytes(json.dumps(facts).encode("utf-8"))
            connection.send_bytes(content)


def _answered(question: dict[str, Any], content: bytes, max_megapixels: float) -> Answer:
    """Return the result of one request, or its fault; never raises."""
    work: dict[str, Callable[[], Answer]] = {
        "form": lambda: _form(question, content),
        "header": lambda: _header(Upload(name=question["name"], content=content), max_megapixels),
        "pixels": lambda: _pixels(Upload(name=question["name"], content=content), max_megapixels),
    }
    try:
        return work[question["what"]]()
    except Refusal as error:
        return Answer({"fault": asdict(error.fault)}, b"")
    except Exception as error:  # decoders raise anything on damaged bytes; memory is limited
        fault = refused(
            400,
            f"{question['name']} cannot be read",
            expected="a whole file",
            found=f"{len(content)} bytes: {type(error).__name__}",
            next_step="the file is probably damaged; send it again",
        ).fault
        return Answer({"fault": asdict(fault)}, b"")


def _form(question: dict[str, Any], content: bytes) -> Answer:
    files: Sequence[Upload] = files_of_form(
        question["content_type"], content, most=question["most"]
    )
    sizes = [(one.name, len(one.content)) for one in files]
    return Answer({"files": sizes}, b"".join(one.content for one in files))


def _header(upload: Upload, max_megapixels: float) -> Answer:
    PillowImage.MAX_IMAGE_PIXELS = HEADER_PIXELS  # ``read_header`` says more about what is larger
    return Answer(asdict(read_header(upload, max_megapixels)), b"")


def _pixels(upload: Upload, max_megapixels: float) -> Answer:
    refuse_bombs(max_megapixels)
    pixels = decode(upload).pixels_bgr
    height, width = pixels.shape[:2]
    return Answer({"height_px": height, "width_px": width}, pixels.tobytes())


def _limit_memory(max_megapixels: float) -> None:
    """Limit the address space of this process, and write no core dumps."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    used = pages * resource.getpagesize()
    most = used + SPARE_BYTES + int(BYTES_PER_PX * max_megapixels * 1e6)
    with suppress(ValueError, OSError):  # a lower limit holds already
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
