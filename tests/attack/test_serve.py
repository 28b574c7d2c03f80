"""A service under attack: hostile files, slow clients, other hosts and sites, forged logs.

Real requests to a real server on loopback; only its limits of time are shortened.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
import shlex
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests
from PIL import Image as PillowImage

pytest.importorskip("fastapi", reason="needs the extra serve")

from harness.serve import connections, decoding, uploads
from harness.serve.decoding import Decoders
from harness.serve.failures import Refusal
from harness.serve.images import Upload
from tests.attack.trials import BUDGET, Trials, mutated, seeds
from tests.serve.conftest import Scripted, picture_bytes, scripted, sent, until  # noqa: F401

#: Seconds in which any answer must be there on a busy machine: far below what the attacks cost.
SOON_S = 20.0


def tiff_of(images: int) -> bytes:
    """A TIFF of so many images of one pixel."""
    out = bytearray(b"II*\0" + struct.pack("<I", 10) + b"\xff\0")
    tags = ((256, 3, 1), (257, 3, 1), (258, 3, 8), (259, 3, 1), (262, 3, 1))
    tags += ((273, 4, 8), (278, 3, 1), (279, 4, 1))
    for number in range(images):
        entries = [struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags]
        following = len(out) + 2 + 12 * len(entries) + 4 if number < images - 1 else 0
        out += struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<I", following)
    return bytes(out)


def gif_of(images: int) -> bytes:
    """A GIF of so many images of one pixel."""
    head = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return head + frame * images + b";"


def jpeg_of_scans(repeats: int, side_px: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    written = io.BytesIO()
    PillowImage.new("L", (side_px, side_px), 128).save(written, "JPEG", progressive=True)
    whole = written.getvalue()
    last = whole[whole.rfind(b"\xff\xc4") : -2]
    return whole[:-2] + last * repeats + whole[-2:]


@pytest.mark.parametrize(
    ("content", "status"),
    [(tiff_of(60_000), 200), (gif_of(200_000), (200, 400)), (jpeg_of_scans(5000, 3000), 400)],
    ids=["tiff of many images", "gif of many images", "jpeg of many scans"],
)
def test_expensive_files_hold_neither_health_nor_the_next_image(
    scripted: Scripted,  # noqa: F811
    content: bytes,
    status: int | tuple[int, ...],
) -> None:
    url, _ = scripted()
    assert sent(url, picture_bytes()).ok  # the processes have started
    slowest_s = 0.0
    with ThreadPoolExecutor(2) as pool:
        attack = pool.submit(sent, url, content, params={"format": "json"})
        following = pool.submit(sent, url, picture_bytes(), params={"format": "json"})
        while not attack.done():
            begun = time.perf_counter()
            assert requests.get(f"{url}/health", timeout=60).ok
            slowest_s = max(slowest_s, time.perf_counter() - begun)
        assert following.result(SOON_S).ok
    assert slowest_s < 5
    wanted = (status,) if isinstance(status, int) else status
    assert attack.result().status_code in wanted, attack.result().text


def test_the_images_of_a_tiff_are_counted_up_to_a_limit(scripted: Scripted) -> None:  # noqa: F811
    url, _ = scripted()
    for images, note in ((3, "its 3 pictures"), (5000, "its more than 100 pictures")):
        answer = sent(url, tiff_of(images), params={"format": "json"}).json()
        assert note in answer["pictures"][0]["notes"][0]


def test_a_reader_that_takes_too_long_is_ended_and_replaced() -> None:
    async def scenario() -> None:
        decoders = Decoders(50, count=1)
        upload = Upload(name="it", content=picture_bytes())
        try:
            header = await decoders.header_of(upload)
            decoders._limit_s = 0.0
            slow = Upload(name="it", content=noise(3000))
            with pytest.raises(Refusal) as refused:
                await decoders.header_of(slow), await decoders.decode(slow, header)
            assert refused.value.fault.status == 400
            assert "takes too long" in refused.value.fault.what
            decoders._limit_s = 60.0
            assert (await decoders.decode(upload, header)).height_px == 30
            for decoder in decoders._living:
                decoder.kill()
            image = await asyncio.gather(decoders.decode(upload, header), return_exceptions=True)
            again = await decoders.decode(upload, header)
            assert isinstance(image[0], Refusal) or image[0].height_px == 30
            assert again.height_px == 30
        finally:
            decoders.close()

    asyncio.run(scenario())


def noise(side_px: int) -> bytes:
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (side_px, side_px, 3), dtype=np.uint8)
    written = io.BytesIO()
    PillowImage.fromarray(pixels).save(written, "PNG", compress_level=1)
    return written.getvalue()


def test_damaged_files_and_forms_are_refused(scripted: Scripted, trials: Trials) -> None:  # noqa: F811
    """Cut anywhere, with any bit flipped: an answer, never an error of the service."""
    url, _ = scripted(quiet=True)
    random = np.random.default_rng(11)
    kinds = ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP")
    begun = time.monotonic()
    while time.monotonic() - begun < 10 * BUDGET:
        content = bytearray(picture_bytes(kinds[trials.number % len(kinds)]))
        for _ in range(int(random.integers(1, 6))):
            content[int(random.integers(len(content)))] = int(random.integers(256))
        content = content[: int(random.integers(len(content) + 1))]
        if trials.number % 5 == 4:
            form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            body = bytearray(form + content + b"\r\n--x--\r\n")
            body[int(random.integers(len(body)))] ^= 1 << int(random.integers(8))
            kind = "multipart/form-data; boundary=x"
        else:
            body, kind = content, "image/png"
        with trials.one(bytes(body)[:80]):
            response = requests.post(
                f"{url}/predict", data=bytes(body), headers={"Content-Type": kind}, timeout=60
            )
            assert response.status_code in (200, 400, 413, 422), response.text
    assert requests.get(f"{url}/health", timeout=60).json()["status"] == "ok"


@contextmanager
def raw(url: str, *parts: bytes) -> Iterator[socket.socket]:
    """A connection on which these bytes were sent."""
    with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port)) as connection:
        connection.settimeout(60)
        for part in parts:
            connection.sendall(part)
        yield connection


def rest_of(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    parts = []
    try:
        while part := connection.recv(1 << 16):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"


def whole_requests() -> list[bytes]:
    """Valid requests of every kind of body, with their heads."""
    image = picture_bytes("JPEG")
    form = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n'
        b"Content-Type: image/jpeg\r\n\r\n" + image + b"\r\n--x--\r\n"
    )
    chunks = b"%x\r\n%s\r\n%x;ext=1\r\n%s\r\n0\r\n\r\n" % (
        *(100, image[:100]),
        *(len(image) - 100, image[100:]),
    )
    post = b"POST /predict%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\n%s\r\n\r\n%s"
    length = b"Content-Length: %d"
    return [
        post % (b"", b"image/jpeg", length % len(image), image),
        post
        % (
            b"?format=json&polygons=1",
            b"multipart/form-data; boundary=x",
            length % len(form),
            form,
        ),
        post % (b"?threshold=0.1", b"image/jpeg", b"Transfer-Encoding: chunked", chunks),
        b"GET /info HTTP/1.1\r\nHost: localhost\r\nAccept: */*;q=0.5, image/png\r\n\r\n",
        b"GET /examples/0 HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-1\r\n\r\n",
    ]


HTTP_TOKENS = (
    *(b"\r\n", b"\r\n\r\n", b"\n", b"\0", b"Content-Length: 5\r\n", b"Content-Length: -1\r\n"),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"ffffffffffffffff",
    ),
    *(b"Expect: 100-continue\r\n", b"Connection: upgrade\r\nUpgrade: websocket\r\n", b"HTTP/9.9"),
    *(b"; boundary=", b"boundary=" + b"b" * 300, b'filename="' + b"f" * 5000 + b'"', b'name="x"'),
    *(b"--x--", b"--x\r\n", b"%00", b"?threshold=nan", b"&scale=1e308", b"&format=png&format=json"),
    *(b"Host: evil.example\r\n", b"Accept: " + b"a/b," * 2000, b"X: " + b"y" * 70_000, b"\xff\xfe"),
)

#: What an answer may say of a request that was damaged anywhere. 499 is of a client that left.
ANSWERED = {
    *(200, 206, 307),
    *(400, 403, 404, 405, 406, 408, 411, 413, 414, 415, 416, 417, 422, 431),
}


def test_fuzzed_requests_are_answered_or_closed(
    scripted: Scripted,  # noqa: F811
    trials: Trials,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Heads and bodies damaged anywhere: an answer that names the fault, or none."""
    for module, name in (
        (connections, "HEAD_S"),
        (uploads, "PATIENCE_S"),
        (connections, "STALLED_S"),
    ):
        monkeypatch.setattr(module, name, 0.3)
    notices: list[str] = []
    url, _ = scripted(notices)
    for request in whole_requests():
        with raw(url, request) as connection:
            assert re.match(rb"HTTP/1\.1 (200|206|404) ", rest_of(connection))

    def answer_to(request: bytes) -> bytes:
        with suppress(BrokenPipeError, ConnectionResetError), raw(url, request) as connection:
            return rest_of(connection)
        return b""

    some = whole_requests()
    with ThreadPoolExecutor(8) as pool:
        for chance in seeds(200, 15):
            damaged = [mutated(chance.choice(some), chance, HTTP_TOKENS) for _ in range(16)]
            for request, answer in zip(damaged, pool.map(answer_to, damaged), strict=True):
                with trials.one(request[:200]):
                    statuses = re.findall(rb"^HTTP/1\.1 (\d{3}) ", answer, re.MULTILINE)
                    assert set(map(int, statuses)) <= ANSWERED, answer[:500]
    until(lambda: requests.get(f"{url}/health", timeout=60).json()["places_taken"] == 0)
    assert requests.get(f"{url}/health", timeout=60).json()["status"] == "ok"
    assert not [line for line in notices if "Traceback" in line or not line.isprintable()]


CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


def test_small_chunks_do_not_hold_the_other_connections(scripted: Scripted) -> None:  # noqa: F811
    """Bodies of a byte a chunk, and of as many chunks as a program may send that is not hostile."""
    url, _ = scripted()
    with raw(url, HEAD + CHUNKED, b"1\r\na\r\n" * 2000) as connection:
        assert rest_of(connection).startswith(b"HTTP/1.1 400")
    image = noise(300)
    some = [image[at : at + 130] for at in range(0, len(image), 130)]
    assert len(some) > connections.MOST_SMALL_CHUNKS
    headers = {"Content-Type": "image/png"}
    assert requests.post(f"{url}/predict", data=iter(some), headers=headers, timeout=60).ok


@pytest.mark.parametrize("sends", [b"zz\r\n\r\n", b"1\r\na\r\n" * 2000])
def test_what_follows_an_answer_and_is_no_http_ends_the_connection(
    scripted: Scripted,  # noqa: F811
    sends: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    url, _ = scripted()
    with raw(url, b"GET /info HTTP/1.1\r\nHost: localhost\r\n" + CHUNKED) as connection:
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(sends)
        rest_of(connection)
    assert answers(url)
    assert not [one for one in caplog.records if one.name == "asyncio"]


@pytest.mark.parametrize(
    "sends", [b"", b"G", HEAD, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET"]
)
def test_a_silent_connection_is_closed(
    scripted: Scripted,  # noqa: F811
    sends: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.3)
    url, _ = scripted()
    with raw(url, sends) as connection:
        rest_of(connection)


def test_a_slow_body_is_given_up_and_told_why(
    scripted: Scripted,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(uploads, "PATIENCE_S", 0.3)
    url, _ = scripted()
    with raw(url, HEAD + b"Content-Length: 1000\r\n\r\n", b"x" * 10) as connection:
        answer = rest_of(connection)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in answer.lower()
    assert requests.get(f"{url}/health", timeout=60).json()["places_taken"] == 0


def test_a_client_that_does_not_read_is_cut_off(
    scripted: Scripted,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "STALLED_S", 0.3)
    url, engine = scripted()
    body = noise(1500)
    head = HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode()
    with raw(url, head, body) as connection:
        assert engine.begun.wait(60)
        until(lambda: requests.get(f"{url}/health", timeout=60).json()["places_taken"] == 0)
        until(lambda: connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0)


def test_more_connections_than_there_is_room_for_are_closed(
    scripted: Scripted,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 2)
    url, _ = scripted()
    with raw(url), raw(url), raw(url) as third:
        assert rest_of(third) == b""
    until(lambda: answers(url))


def answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=60).ok
    except requests.ConnectionError:
        return False


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:9999", 200),
        ("127.0.0.1", 200),
        ("127.1.2.3:80", 200),
        ("[::1]:8000", 200),
        ("localhost.", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("evil.example:localhost", 403),
        ("127.0.0.1.nip.io", 403),
        ("192.168.1.7", 403),
        ("[2001:db8::1]", 403),
        ("", 403),
        ("localhost:80@evil.example", 403),
        ("[::1]evil.example", 403),
        ("[::1", 403),
        ("named.example", 200),
    ],
)
def test_only_requests_for_this_host_are_taken(
    scripted: Scripted,  # noqa: F811
    host: str,
    status: int,
) -> None:
    url, _ = scripted(allow_host=("named.example",))
    for path in ("/info", "/health", "/"):
        response = requests.get(f"{url}{path}", headers={"Host": host}, timeout=60)
        assert response.status_code == status
    if status == 403 and host in ("evil.example", "192.168.1.7"):
        assert "--allow-host" in response.json()["error"]["next_step"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "{url}"}, 200),
        ({"Origin": "{url}", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": "", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://localhost:1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://friend.example"}, 200),
    ],
)
def test_pages_of_other_sites_may_not_post(
    scripted: Scripted,  # noqa: F811
    headers: dict[str, str],
    status: int,
) -> None:
    url, engine = scripted(allow_origin=("https://friend.example",))
    given = {name: value.format(url=url) for name, value in headers.items()}
    response = sent(url, picture_bytes(), headers=given)
    assert response.status_code == status, response.text
    assert engine.calls == (status == 200)
    allowed = response.headers.get("Access-Control-Allow-Origin")
    assert allowed == ("https://friend.example" if "friend" in str(headers) else None)


def test_two_origins_are_both_looked_at(scripted: Scripted) -> None:  # noqa: F811
    url, engine = scripted()
    own = urlsplit(url).netloc.encode()
    head = HEAD.replace(b"localhost", own) + b"Content-Length: 1\r\nConnection: close\r\n"
    origins = (
        b"http://" + own,
        b"https://evil.example",
        b"//" + own,
        b"http://a,b",
        b"https://[::1]",
    )
    for first, second in ((0, 1), (1, 0), (0, 2), (1, 1), (1, 3), (4, 1)):
        pair = (origins[first], origins[second])
        both = b"Origin: %s\r\nOrigin: %s\r\n\r\nx" % pair
        with raw(url, head + both) as connection:
            answer = rest_of(connection)
        assert answer.startswith(b"HTTP/1.1 403")
        step = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["next_step"]
        _, option, words = step.partition(" --allow-origin ")
        assert bool(option) == (not {2, 3} & {first, second}), step
        if option:  # as a shell and the command line read it: one word, a list without spaces
            [listed] = shlex.split(words)
            assert [one.encode() for one in listed.split(",")] == list(dict.fromkeys(pair))
    assert engine.calls == 0


def test_a_hint_of_a_refused_host_is_safe_to_copy(scripted: Scripted) -> None:  # noqa: F811
    url, _ = scripted()
    for host, named in (
        ("evil.example:80", True),
        ("a,b", False),
        ("$(id)", False),
        ("a b", False),
    ):
        with raw(
            url, HEAD.replace(b"localhost", host.encode()) + b"Connection: close\r\n\r\n"
        ) as one:
            answer = rest_of(one)
        assert answer.startswith(b"HTTP/1.1 403")
        step = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["next_step"]
        assert ("--allow-host evil.example" in step) == named
        assert ("--allow-host" in step) == named, step


def test_lines_of_the_log_cannot_be_forged(scripted: Scripted) -> None:  # noqa: F811
    notices: list[str] = []
    url, _ = scripted(notices)
    for path in ("/%0aPOST%20/predict%20200", "/%1b[31m%07", "/%e2%80%ae%c2%9b", "/" + "a" * 5000):
        requests.get(url + path, timeout=60)
    sent(url, b"x", headers={})
    assert len(notices) == 5
    assert all(len(line) < 300 and line.isprintable() for line in notices)


def test_a_client_that_leaves_is_no_error(scripted: Scripted) -> None:  # noqa: F811
    notices: list[str] = []
    url, _ = scripted(notices)
    with raw(url, HEAD + b"Content-Length: 1000\r\n\r\n", b"x" * 10):
        until(lambda: requests.get(f"{url}/health", timeout=60).json()["places_taken"] == 1)
    until(lambda: bool(notices))
    assert notices[0].startswith("POST /predict 499")
    until(lambda: requests.get(f"{url}/health", timeout=60).json()["places_taken"] == 0)


def test_the_last_answers_close_their_connections(scripted: Scripted) -> None:  # noqa: F811
    url, engine = scripted()
    assert "close" not in requests.get(f"{url}/health", timeout=60).headers.get("Connection", "")
    engine.service.ending = True
    assert requests.get(f"{url}/health", timeout=60).headers["Connection"] == "close"


def test_the_deadline_ends_a_process_whatever_it_does() -> None:
    script = (
        "from harness.serve.connections import Deadline\n"
        "deadline = Deadline(0.1, notice=lambda _: None)\n"
        "deadline.before = lambda: print('overdue', flush=True)\n"
        "deadline.start()\n"
        "sum(iter(lambda: 1, 0))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "overdue\n"), done.stderr


def test_the_readers_have_no_memory_to_spare() -> None:
    assert decoding.SPARE_BYTES + decoding.BYTES_PER_PX * 50e6 < 4e9
