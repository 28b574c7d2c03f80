"""What ``POST /predict`` says when all is not well: the right status, and four parts."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import pytest
import requests
from PIL import Image as PillowImage

from harness.core.errors import IntegrityError
from tests.serve.conftest import Scripted, picture_bytes, sent


def fault_of(response: requests.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/json"
    fault: dict[str, Any] = response.json()["error"]
    assert fault["status"] == status
    assert fault["what"]
    assert fault["next_step"]
    return fault


def bomb(side_px: int) -> bytes:
    """A PNG of a few bytes that claims to be side × side px."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", side_px, side_px, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(100))
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def saved(picture: PillowImage.Image, format: str) -> bytes:
    written = BytesIO()
    picture.save(written, format)
    return written.getvalue()


@pytest.mark.parametrize(
    ("content", "status", "what", "found"),
    [
        (b"", 400, "0.png is empty", "0 bytes"),
        (b"not a picture at all", 400, "0.png is not a picture", "not a pictur"),
        (picture_bytes("JPEG")[:-40], 400, "0.png cannot be decoded", "truncated"),
        (picture_bytes("EPS"), 400, "0.png is not a picture", "%!PS"),
        (saved(PillowImage.new("F", (9, 9)), "TIFF"), 400, "0.png is not", "floating-point"),
        (saved(PillowImage.new("RGB", (9000, 1)), "PNG"), 400, "0.png cannot be resized", "narrow"),
        (bomb(30_000), 413, "0.png has too many pixels", "900000000"),
        (bomb(7_500), 413, "0.png has too many pixels", "7500 × 7500 px"),
    ],
    ids=["empty", "text", "cut off", "other format", "floats", "narrow", "bomb", "large"],
)
def test_bad_pictures(
    scripted: Scripted, content: bytes, status: int, what: str, found: str
) -> None:
    url, engine = scripted()
    if what.endswith("resized"):
        engine.prepare = _too_narrow  # type: ignore[method-assign]
    fault = fault_of(sent(url, content), status)
    assert fault["what"].startswith(what)
    assert found in fault["found"]
    assert fault["expected"]
    assert engine.calls == 0


def _too_narrow(*_: Any) -> Any:
    raise IntegrityError("9000 × 1 px is too narrow to be resized")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"threshold": 2}, "threshold"),
        ({"threshold": "nan"}, "threshold"),
        ({"treshold": 0.5}, "did you mean threshold?"),
        ({"format": "gif"}, "'png', 'jpeg' or 'json'"),
        ({"background": "blue"}, "'colour' or 'grey'"),
        ({"scale": 0}, "scale"),
        ({"frobnicate": 1}, "see /docs"),
    ],
)
def test_settings_that_cannot_be_meant(
    scripted: Scripted, asked: dict[str, Any], said: str
) -> None:
    url, _ = scripted()
    response = sent(url, picture_bytes(), params=asked)
    fault_of(response, 422)
    assert said in response.text


def test_a_drawing_may_not_grow_beyond_limits(scripted: Scripted) -> None:
    url, _ = scripted(max_megapixels=0.1)
    fault = fault_of(sent(url, picture_bytes(), params={"scale": 10}), 422)
    assert fault["next_step"] == "ask for a smaller scale"
    assert sent(url, picture_bytes(), params={"scale": 10, "format": "json"}).ok


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"files": {"image": ("a.png", picture_bytes())}}, "image"),
        ({"files": {"file": (None, "photo.jpg")}}, "mind the @"),
        ({"data": b"", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, "file"),
        ({"data": b"x", "headers": {"Content-Type": "multipart/form-data"}}, "boundary"),
    ],
)
def test_forms_that_cannot_be_meant(scripted: Scripted, form: dict[str, Any], said: str) -> None:
    url, _ = scripted()
    response = requests.post(f"{url}/predict", timeout=60, **form)
    fault_of(response, 422)
    assert said in response.text


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_other_bodies_are_told_what_to_send(scripted: Scripted, kind: str) -> None:
    url, _ = scripted()
    headers = {"Content-Type": kind} if kind else {}
    response = requests.post(f"{url}/predict", data=b"x" * 9, headers=headers, timeout=60)
    assert "curl -F file=@photo.jpg" in fault_of(response, 415)["next_step"]


def test_nothing_it_accepts(scripted: Scripted) -> None:
    url, _ = scripted()
    fault_of(sent(url, picture_bytes(), headers={"Accept": "text/html"}), 406)


def test_too_many_bytes_are_refused_and_the_reason_arrives(scripted: Scripted) -> None:
    """Although the client sends all it has before it listens."""
    url, engine = scripted(max_upload_mb=0.1)
    fault = fault_of(sent(url, bytes(700_000)), 413)
    assert fault["expected"] == "at most 100000 bytes"
    announced_nothing = iter([bytes(90_000)] * 4)
    headers = {"Content-Type": "image/png"}
    response = requests.post(f"{url}/predict", data=announced_nothing, headers=headers, timeout=60)
    fault_of(response, 413)
    assert engine.calls == 0


def test_more_pictures_than_places(scripted: Scripted) -> None:
    url, _ = scripted(queue=2)
    fault = fault_of(sent(url, *[picture_bytes()] * 3, params={"format": "json"}), 413)
    assert (fault["expected"], fault["found"]) == ("at most 2", "3")


def test_several_pictures_are_no_picture(scripted: Scripted) -> None:
    url, engine = scripted()
    assert "?format=json" in fault_of(sent(url, picture_bytes(), picture_bytes()), 422)["next_step"]
    assert engine.calls == 0


def test_one_damaged_among_several_is_named(scripted: Scripted) -> None:
    url, _ = scripted()
    response = sent(url, picture_bytes(), picture_bytes("JPEG")[:-40], params={"format": "json"})
    assert fault_of(response, 400)["what"] == "1.png cannot be decoded"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("PUT", "/nowhere", 404), ("GET", "/examples/7", 404)],
)
def test_other_addresses(scripted: Scripted, method: str, path: str, status: int) -> None:
    url, _ = scripted()
    fault_of(requests.request(method, url + path, timeout=60), status)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/predict", "POST"),
        ("/", "GET, HEAD"),
        ("/health", "GET, HEAD"),
        ("/ping", "GET, HEAD"),
        ("/info", "GET"),
        ("/metrics", "GET"),
        ("/report", "GET"),
        ("/examples/0", "GET"),
        ("/show/pictures/1.jpg", "GET"),
        ("/docs", "GET"),
        ("/openapi.json", "GET, HEAD"),
    ],
)
def test_another_method_is_told_which_ones_there_are(
    scripted: Scripted, path: str, allowed: str
) -> None:
    url, _ = scripted()
    for method in ("PUT", "DELETE", "GET" if path == "/predict" else "POST"):
        response = requests.request(method, url + path, timeout=60)
        fault = fault_of(response, 405)
        assert response.headers["Allow"] == allowed
        assert (fault["expected"], fault["found"]) == (allowed.replace(", ", " or "), method)
        assert f"send {allowed.split(',')[0]} {path}" in fault["next_step"]
