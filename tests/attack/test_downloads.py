"""Servers that answer anything: a download is the pinned file, or ends in a sentence, in time."""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from harness.core.errors import HarnessError, IntegrityError, RunFailedError
from harness.core.printable import printable
from harness.core.progress import Silent
from harness.files.fetch import Expected, FetchOptions, RetryPolicy, fetch
from harness.files.parts import part_path
from tests.attack.trials import LostError, Trials, mutated, seeds

CONTENT = random.Random(3).randbytes(300_000)
PINNED = Expected(size=len(CONTENT), algorithm="sha256", digest=hashlib.sha256(CONTENT).hexdigest())
ANYTHING = Expected(size=None, algorithm="md5", digest="")
RETRIES = RetryPolicy(attempts=2, first_delay_s=0.001, longest_delay_s=0.001, timeout_s=0.3)

#: For what must succeed, also on a machine that is busy with other tests.
PATIENT = RetryPolicy(attempts=5, first_delay_s=0.001, longest_delay_s=0.001, timeout_s=10)

#: Sends one answer on a connection; what it is given: the connection, and the range asked for.
Answer = Callable[[socket.socket, int, int], None]


@dataclass
class Server:
    """A socket on loopback that answers each request with whatever ``answer`` sends."""

    answer: Answer
    url: str = ""
    ended: Event = field(default_factory=Event)
    connections: list[socket.socket] = field(default_factory=list)

    def serve(self, listener: socket.socket) -> None:
        while not self.ended.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            Thread(target=self.talk, args=(connection,), daemon=True).start()

    def talk(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            while request := self.request(connection):
                span = re.search(rb"Range: bytes=(\d+)-(\d+)", request)
                assert span is not None
                self.answer(connection, int(span[1]), int(span[2]))

    def request(self, connection: socket.socket) -> bytes:
        received = b""
        while b"\r\n\r\n" not in received:
            piece = connection.recv(4096)
            if not piece:
                return b""
            received += piece
        return received


@contextmanager
def serving(answer: Answer) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        server = Server(answer)
        server.url = f"http://127.0.0.1:{listener.getsockname()[1]}/file"
        thread = Thread(target=server.serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.ended.set()
            for connection in server.connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def fixed(head: bytes, body: bytes | None = None) -> Answer:
    """The same head whatever is asked for, and the span of the content after it; then the end."""

    def answer(connection: socket.socket, first: int, last: int) -> None:
        span = CONTENT[first : last + 1] if body is None else body
        head_now = head.replace(b"FIRST", b"%d" % first).replace(b"LAST", b"%d" % last)
        with suppress(OSError):
            connection.sendall(head_now.replace(b"COUNT", b"%d" % len(span)) + span)
            connection.shutdown(socket.SHUT_WR)

    return answer


def head(*lines: bytes, status: bytes = b"206 Partial Content") -> bytes:
    return b"HTTP/1.1 " + status + b"\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def download(
    url: str, target: Path, expected: Expected = PINNED, **options: Any
) -> HarnessError | None:
    """None when the file was fetched; it must be the right one then. The error otherwise."""
    options = {"progress": Silent(), "retries": RETRIES, "jobs": 2, **options}
    try:
        fetch([url], target, expected, FetchOptions(**options))
    except HarnessError as error:
        if target.exists():
            raise LostError("a file has its name without being proven") from error
        if len(str(error)) > 2000:
            raise AssertionError(f"a message of {len(str(error)):,} characters") from error
        if str(error) != printable(str(error)):
            raise AssertionError(f"control characters in {str(error)!r}") from error
        return error
    if target.read_bytes() != CONTENT:
        raise LostError("another content than the server's counts as fetched")
    return None


RANGE = b"Content-Range: bytes FIRST-LAST/300000"
HEADS: dict[str, bytes] = {
    "no range header": head(b"Content-Length: COUNT"),
    "range of unknown length": head(b"Content-Range: bytes FIRST-LAST/*", b"Content-Length: COUNT"),
    "unsatisfied range": head(b"Content-Range: bytes */300000", b"Content-Length: COUNT"),
    "no unit": head(b"Content-Range: FIRST-LAST/300000", b"Content-Length: COUNT"),
    "superscript length": head("Content-Range: bytes FIRST-LAST/30²".encode("latin-1")),
    "arabic digits": head("Content-Range: bytes FIRST-LAST/٣".encode()),
    "huge total": head(b"Content-Range: bytes FIRST-LAST/" + b"9" * 40),
    "endless total": head(b"Content-Range: bytes FIRST-LAST/" + b"9" * 5000),
    "negative total": head(b"Content-Range: bytes FIRST-LAST/-5"),
    "zero total": head(b"Content-Range: bytes 0-0/0", b"Content-Length: 0"),
    "another start": head(b"Content-Range: bytes 7-LAST/300000", b"Content-Length: COUNT"),
    "several ranges": head(b"Content-Type: multipart/byteranges; boundary=x"),
    "several ranges, one named": head(
        RANGE, b"Content-Type: multipart/byteranges; boundary=x", b"Content-Length: COUNT"
    ),
    "forbidden, of the terminal": head(status=b"404 \x1b[2J\x1b]0;title\x07 \xe2\x80\xae"),
    "noise of the terminal": b"\x1b[2J\x1b]0;title\x07\r\n\r\n",
    "two lengths": head(RANGE, b"Content-Length: 5", b"Content-Length: 6"),
    "huge length": head(RANGE, b"Content-Length: " + b"9" * 30),
    "endless length": head(RANGE, b"Content-Length: " + b"9" * 5000),
    "superscript content length": head(RANGE, "Content-Length: ²".encode("latin-1")),
    "negative length": head(RANGE, b"Content-Length: -5"),
    "whole, superscript": head("Content-Length: 30²".encode("latin-1"), status=b"200 OK"),
    "whole, huge": head(b"Content-Length: " + b"9" * 18, status=b"200 OK"),
    "whole, endless": head(b"Content-Length: " + b"9" * 5000, status=b"200 OK"),
    "whole, plus": head(b"Content-Length: +300000", status=b"200 OK"),
    "whole, hexadecimal": head(b"Content-Length: 0x10", status=b"200 OK"),
    "whole, none": head(b"Content-Length: 0", status=b"200 OK"),
    "no content": head(b"Content-Length: 0", status=b"204 No Content"),
    "not modified": head(b"Content-Length: 0", status=b"304 Not Modified"),
    "choices": head(b"Content-Length: 0", status=b"300 Multiple Choices"),
    "status of letters": head(RANGE, status=b"abc OK"),
    "status of one digit": head(RANGE, status=b"2 OK"),
    "no such status": head(RANGE, status=b"999 \x1b]0;title\x07"),
    "no status line": b"\r\n\r\n",
    "nothing": b"",
    "noise": random.Random(1).randbytes(5000),
    "long status line": b"HTTP/1.1 200 " + b"a" * 70_000 + b"\r\n\r\n",
    "long header": head(RANGE, b"X: " + b"a" * 70_000),
    "many headers": head(RANGE, *[b"X-%d: y" % n for n in range(300)]),
    "header without colon": head(RANGE, b"nonsense", b"Content-Length: COUNT"),
    "header of other letters": head(RANGE, b"\xff\xfe: \xff", b"Content-Length: COUNT"),
    "folded header": head(RANGE, b"ETag: a\r\n b\r\n c", b"Content-Length: COUNT"),
    "tag of other letters": head(RANGE, b"ETag: \x85\xa0\x1c", b"Content-Length: COUNT"),
    "long tag": head(RANGE, b"ETag: " + b"t" * 60_000, b"Content-Length: COUNT"),
    "compressed": head(RANGE, b"Content-Encoding: gzip", b"Content-Length: COUNT"),
    "compressed twice": head(RANGE, b"Content-Encoding: gzip, br, x", b"Content-Length: COUNT"),
    "a page": head(RANGE, b"Content-Type: TEXT/HTML", b"Content-Length: COUNT"),
    "cookies": head(RANGE, *[b"Set-Cookie: a=\xff; Max-Age=x; Domain=.."] * 50),
    "chunks of no length": head(RANGE, b"Transfer-Encoding: chunked") + b"zz\r\n",
    "chunks of a negative length": head(RANGE, b"Transfer-Encoding: chunked") + b"-5\r\n",
    "chunks of a huge length": head(RANGE, b"Transfer-Encoding: chunked") + b"f" * 40 + b"\r\n",
    "chunks of an endless length": head(RANGE, b"Transfer-Encoding: chunked") + b"1" * 70_000,
    "transfer of another kind": head(RANGE, b"Transfer-Encoding: gzip, x", b"Content-Length: 9"),
}


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("expected", [PINNED, ANYTHING], ids=["pinned", "unpinned"])
def test_odd_headers(name: str, expected: Expected, tmp_path: Path) -> None:
    with serving(fixed(HEADS[name])) as server:
        download(server.url, tmp_path / "file", expected)


@pytest.mark.parametrize("expected", [PINNED, ANYTHING], ids=["pinned", "unpinned"])
def test_several_parts_are_no_file(expected: Expected, tmp_path: Path) -> None:
    with serving(fixed(HEADS["several ranges, one named"])) as server:
        error = download(server.url, tmp_path / "file", expected)
    assert isinstance(error, IntegrityError)


@pytest.mark.parametrize("name", ["whole, none", "zero total", "no content"])
def test_an_empty_body_is_no_file(name: str, tmp_path: Path) -> None:
    with serving(fixed(HEADS[name])) as server:
        assert download(server.url, tmp_path / "file", ANYTHING) is not None
    empty = tmp_path / "empty"
    empty.touch()
    error = download(empty.as_uri(), tmp_path / "file", ANYTHING)
    assert error is not None
    assert "is empty" in str(error)


LOCATIONS: dict[str, bytes] = {
    "nowhere": b"",
    "a local file": b"file:///etc/hostname",
    "another protocol": b"ftp://127.0.0.1/x",
    "a script": b"javascript:alert(1)",
    "no host": b"http://",
    "no host but a port": b"http://:80/",
    "half a bracket": b"http://[::1",
    "no such port": b"http://127.0.0.1:99999/",
    "a port of letters": b"http://127.0.0.1:abc/",
    "no text": b"http://127.0.0.1/\xff\xfe",
    "control characters": b"http://127.0.0.1/\x1b[2J\x07",
    "a host of dots": b"http://.../x",
    "a long host": b"http://" + b"a" * 300 + b"/",
    "an international host": "http://ﬀ\u200d.example/".encode(),
    "a long address": b"/" + b"a" * 60_000,
    "itself": b"/file",
    "two slashes": b"//",
    "spaces": b"http://127.0.0.1 :80/ x",
}


@pytest.mark.parametrize("name", LOCATIONS)
@pytest.mark.parametrize("status", [b"301 Moved", b"307 Temporary Redirect"])
def test_bad_redirects(name: str, status: bytes, tmp_path: Path) -> None:
    answer = fixed(head(b"Location: " + LOCATIONS[name], b"Content-Length: 0", status=status), b"")
    with serving(answer) as server:
        error = download(server.url, tmp_path / "file")
    assert error is not None


def test_a_redirect_whose_body_never_ends(tmp_path: Path) -> None:
    sent = [0]

    def answer(connection: socket.socket, first: int, last: int) -> None:
        connection.sendall(head(b"Location: /file", status=b"302 Found"))
        while sent[0] < 200 << 20:
            sent[0] += connection.send(bytes(1 << 16))

    with serving(answer) as server:
        error = download(server.url, tmp_path / "file", retries=RetryPolicy(timeout_s=10))
    assert error is not None
    assert "redirects more than" in str(error)
    assert sent[0] < 100 << 20, "its body was read"


def test_a_good_redirect_is_followed(tmp_path: Path) -> None:
    whole = head(RANGE, b"Content-Length: COUNT")
    with serving(fixed(whole)) as server:
        moved = head(b"Location: " + server.url.encode(), b"Content-Length: 0", status=b"302 Found")
        with serving(fixed(moved, b"")) as first:
            assert download(first.url, tmp_path / "file", retries=PATIENT) is None


def slowly(content: bytes, pause_s: float) -> Callable[[socket.socket], None]:
    stop = Event()

    def send(connection: socket.socket) -> None:
        for byte in content:
            connection.sendall(bytes([byte]))
            if stop.wait(pause_s):
                return

    return send


SLOW: dict[str, tuple[bytes, bytes]] = {
    "status line": (b"", b"HTTP/1.1 200 " + b"a" * 5000),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000),
    "continued": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "content": (head(b"Content-Length: 300000", status=b"200 OK"), CONTENT),
    "span": (head(b"Content-Range: bytes FIRST-LAST/300000"), CONTENT),
    "chunk length": (
        head(b"Content-Length: 300000", b"Transfer-Encoding: chunked", status=b"200 OK"),
        b"0" * 5000,
    ),
}


@pytest.mark.parametrize("name", SLOW)
def test_a_server_that_sends_a_byte_now_and_then_is_cut_off(name: str, tmp_path: Path) -> None:
    at_once, drop_by_drop = SLOW[name]

    def answer(connection: socket.socket, first: int, last: int) -> None:
        if last == 0 and at_once:  # what is there is answered at once, or nobody reads on
            connection.sendall(at_once.replace(b"FIRST-LAST", b"0-0") + CONTENT[:1])
            connection.shutdown(socket.SHUT_RDWR)
            return
        connection.sendall(at_once.replace(b"FIRST-LAST", b"%d-%d" % (first, last)))
        slowly(drop_by_drop, 0.05)(connection)

    with serving(answer) as server:
        error = download(server.url, tmp_path / "file", jobs=1)
    assert isinstance(error, RunFailedError)
    assert "less than 1,024 bytes a second" in str(error)


def test_a_server_that_floods_with_interim_answers(tmp_path: Path) -> None:
    def answer(connection: socket.socket, first: int, last: int) -> None:
        while True:
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)

    with serving(answer) as server:
        assert isinstance(download(server.url, tmp_path / "file"), RunFailedError)


def test_a_compressed_bomb_is_not_unpacked(tmp_path: Path) -> None:
    body = gzip.compress(bytes(50 << 20), 9)
    bomb = head(b"Content-Encoding: gzip", b"Content-Length: COUNT", status=b"200 OK")
    with serving(fixed(bomb, body)) as server:
        error = download(server.url, tmp_path / "file", ANYTHING)
    assert isinstance(error, IntegrityError)
    assert "compressed" in str(error)


JOURNALS: dict[str, bytes] = {
    "empty": b"",
    "no text": b"\xff\xfe\x00" * 100,
    "no header": b"0 100 00000000\n",
    "nonsense": b'{"size":300000,"validator":"t"}\nnonsense\n',
    "superscript": '{"size":300000,"validator":"\\"t\\""}\n0 10² 00000000\n'.encode(),
    "arabic": '{"size":300000,"validator":"\\"t\\""}\n٠ ٩ 00000000\n'.encode(),
    "endless number": b'{"size":300000,"validator":"\\"t\\""}\n0 ' + b"9" * 5000 + b" 00000000\n",
    "beyond the end": b'{"size":300000,"validator":"\\"t\\""}\n0 999999999 00000000\n',
    "backwards": b'{"size":300000,"validator":"\\"t\\""}\n9 3 00000000\n',
    "no checksum": b'{"size":300000,"validator":"\\"t\\""}\n0 300000\n',
    "another checksum": b'{"size":300000,"validator":"\\"t\\""}\n0 300000 12345678\n',
    "deep header": b"[" * 100_000 + b"\n0 300000 12345678\n",
    "binary lines": b'{"size":300000,"validator":"\\"t\\""}\n\x00\x85\x1c 5 00000000\n',
}


@pytest.mark.parametrize("name", JOURNALS)
@pytest.mark.parametrize("expected", [PINNED, ANYTHING], ids=["pinned", "unpinned"])
def test_a_garbled_journal_starts_anew_with_a_line(
    name: str, expected: Expected, tmp_path: Path
) -> None:
    target = tmp_path / "file"
    part_path(target).write_bytes(b"forged" * 50_000)
    part_path(target).with_name("file.part.journal").write_bytes(JOURNALS[name])
    notices: list[str] = []
    progress = Silent()
    progress.notice = notices.append  # type: ignore[method-assign]
    with serving(fixed(head(RANGE, b'ETag: "t"', b"Content-Length: COUNT"))) as server:
        error = download(server.url, target, expected, progress=progress, retries=PATIENT)
    assert error is None
    (line,) = notices
    assert "again" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def link(path: Path, other: Path) -> None:
    path.symlink_to(other)


def hard_link(path: Path, other: Path) -> None:
    path.hardlink_to(other)


def pipe(path: Path, other: Path) -> None:
    del other
    os.mkfifo(path)


@pytest.mark.parametrize("name", ["file.part", "file.part.journal"])
@pytest.mark.parametrize("make", [link, hard_link, pipe])
def test_what_a_download_is_written_to_is_no_file_of_others(
    make: Callable[[Path, Path], None], name: str, tmp_path: Path
) -> None:
    other, target = tmp_path / "precious", tmp_path / "file"
    other.write_bytes(b"precious")
    part_path(target).write_bytes(b"")
    (tmp_path / name).unlink(missing_ok=True)
    make(tmp_path / name, other)
    with serving(fixed(head(RANGE, b'ETag: "t"', b"Content-Length: COUNT"))) as server:
        assert download(server.url, target, retries=PATIENT) is None
    assert target.is_file()
    assert not target.is_symlink()
    assert other.read_bytes() == b"precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "precious"]


def test_fuzzed_journals(trials: Trials, tmp_path: Path) -> None:
    """Whatever happened to a part and its journal, a file without a pinned hash comes out right."""
    target = tmp_path / "file"
    journal = part_path(target).with_name("file.part.journal")
    answers = [0]
    whole = fixed(head(RANGE, b'ETag: "t"', b"Content-Length: COUNT"))
    broken = fixed(head(RANGE, b'ETag: "t"', b"Content-Length: COUNT"), CONTENT[:150_000])

    def answer(connection: socket.socket, first: int, last: int) -> None:
        answers[0] += 1
        (broken if first == 0 < last and answers[0] < 3 else whole)(connection, first, last)

    with serving(answer) as server:
        download(server.url, target, ANYTHING, retries=RetryPolicy(attempts=1, timeout_s=0.3))
        sound = (part_path(target).read_bytes(), journal.read_bytes())
        for chance in seeds(60, 5):
            with trials.one(chance):
                part, lines = sound
                if chance.random() < 0.5:
                    part = mutated(part, chance)
                if chance.random() < 0.7:
                    lines = mutated(lines, chance, (b"0", b"9", b" ", b"\n", b"300000"))
                part_path(target).write_bytes(part)
                journal.write_bytes(lines)
                error = download(server.url, target, ANYTHING, retries=PATIENT)
                assert error is None, error
                target.unlink()


def test_fuzzed_answers(trials: Trials, tmp_path: Path) -> None:
    """Heads and chunked bodies with flipped, cut and exchanged pieces."""
    tokens = (b"\r\n", b"\n\n", b"chunked", b"gzip", b"-1", b"9" * 20, b"\xff", b"bytes", b"100")
    plain = head(RANGE, b'ETag: "t"', b"Content-Length: COUNT", b"Connection: keep-alive")
    chunked = head(RANGE, b'ETag: "t"', b"Transfer-Encoding: chunked")
    for number, chance in enumerate(seeds(150, 12)):
        with trials.one(number):
            if chance.random() < 0.7:
                answer = fixed(mutated(plain, chance, tokens))
            else:
                piece = CONTENT[: chance.choice((1, 1000))]
                body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(piece), piece)
                answer = fixed(chunked, mutated(body, chance, tokens))
            with serving(answer) as server:
                download(server.url, tmp_path / str(number))
