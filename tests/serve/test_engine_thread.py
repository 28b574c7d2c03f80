"""The queue before the engine: bounded, dropped for who has gone, and alive after a crash."""

from __future__ import annotations

import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import requests

from harness.core.errors import RunFailedError
from tests.serve.conftest import Scripted, picture_bytes, sent, until


def places_taken(url: str) -> int:
    taken: int = requests.get(f"{url}/health", timeout=60).json()["places_taken"]
    return taken


def test_who_comes_when_all_places_are_taken_comes_again(scripted: Scripted) -> None:
    url, engine = scripted(queue=2)
    engine.go.clear()
    with ThreadPoolExecutor(2) as pool:
        first = [pool.submit(sent, url, picture_bytes()) for _ in range(2)]
        until(lambda: places_taken(url) == 2)
        refused = sent(url, picture_bytes())
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) >= 1
        assert refused.json()["error"]["found"] == "0 free"
        engine.go.set()
        assert [one.result().status_code for one in first] == [200, 200]
    assert places_taken(url) == 0
    assert sent(url, picture_bytes()).status_code == 200


def test_a_request_needs_a_place_for_each_picture(scripted: Scripted) -> None:
    url, engine = scripted(queue=3)
    engine.go.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(sent, url, picture_bytes())
        until(lambda: places_taken(url) == 1)
        refused = sent(url, *[picture_bytes()] * 3, params={"format": "json"})
        assert refused.status_code == 503
        engine.go.set()
        assert first.result().status_code == 200


def test_what_waits_for_a_client_that_has_gone_is_never_computed(scripted: Scripted) -> None:
    url, engine = scripted()
    engine.go.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(sent, url, picture_bytes())
        assert engine.begun.wait(30)
        leaving = socket.create_connection((urlsplit(url).hostname, urlsplit(url).port))
        body = picture_bytes()
        head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        leaving.sendall(f"{head}Content-Type: image/png\r\n\r\n".encode() + body)
        until(lambda: places_taken(url) == 2)
        leaving.close()
        until(lambda: places_taken(url) == 1)
        engine.go.set()
        assert first.result().status_code == 200
    assert engine.calls == 1


def test_a_crash_is_an_error_and_told_by_health_until_it_works_again(scripted: Scripted) -> None:
    notices: list[str] = []
    url, engine = scripted(notices, quiet=True)
    engine.fault = RunFailedError("the network's output is not finite", hint="try fp32")
    failed = sent(url, picture_bytes())
    assert failed.status_code == 500
    assert failed.json()["error"]["what"] == "the network's output is not finite"
    assert failed.json()["error"]["next_step"] == "try fp32"
    assert notices == ["error: the network's output is not finite\n  try fp32"]
    ping = requests.get(f"{url}/ping", timeout=60)
    assert (ping.status_code, ping.json()) == (503, {"status": "Unhealthy"})
    health = requests.get(f"{url}/health", timeout=60)
    assert (health.status_code, health.json()["status"]) == (503, "failing")
    engine.fault = None
    assert sent(url, picture_bytes()).status_code == 200
    assert requests.get(f"{url}/health", timeout=60).json()["status"] == "ok"
    ping = requests.get(f"{url}/ping", timeout=60)
    assert (ping.status_code, ping.json()) == (200, {"status": "Healthy"})


def test_a_gpu_that_fails_is_no_bug_and_says_what_to_do(scripted: Scripted) -> None:
    notices: list[str] = []
    url, engine = scripted(notices, quiet=True)
    lost = "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be …"
    engine.fault = RuntimeError(lost)
    failed = sent(url, picture_bytes())
    assert failed.status_code == 500
    error = failed.json()["error"]
    assert error["what"] == "the GPU failed: CUDA error: an illegal memory access was encountered"
    assert "start the service again" in error["next_step"]
    assert [one.partition("\n")[0] for one in notices] == [f"error: {error['what']}"]
    assert requests.get(f"{url}/health", timeout=60).status_code == 503


def test_a_bug_names_itself_and_keeps_its_details(scripted: Scripted) -> None:
    url, engine = scripted()
    engine.fault = KeyError("secret path")
    failed = sent(url, picture_bytes())
    assert failed.status_code == 500
    assert "KeyError" in failed.json()["error"]["what"]
    assert "secret" not in failed.text


def test_metrics_count_what_happened(scripted: Scripted) -> None:
    url, _ = scripted()
    sent(url, picture_bytes())
    sent(url, b"nothing")
    sent(url, picture_bytes(), picture_bytes(), params={"format": "json"})
    requests.get(f"{url}/somewhere/secret", timeout=60)
    text = requests.get(f"{url}/metrics", timeout=60).text
    for line in (
        'harness_requests_total{path="/predict",status="200"} 2.0',
        'harness_requests_total{path="/predict",status="400"} 1.0',
        'harness_requests_total{path="other",status="404"} 1.0',
        "harness_pictures_total 3.0",
        "harness_objects_total 6.0",
        'harness_phase_seconds_count{phase="decode"} 3.0',
        'harness_request_seconds_count{path="/predict"} 3.0',
        "harness_places 16.0",
    ):
        assert line in text.splitlines()


def test_each_request_is_told_but_not_the_machines(scripted: Scripted) -> None:
    notices: list[str] = []
    url, _ = scripted(notices)
    sent(url, picture_bytes())
    requests.get(f"{url}/health", timeout=60)
    requests.get(f"{url}/metrics", timeout=60)
    requests.get(f"{url}/info", timeout=60)
    assert [line.rsplit(" ", 2)[0] for line in notices] == ["POST /predict 200", "GET /info 200"]


def test_after_a_signal_what_has_begun_is_answered_and_nothing_else(scripted: Scripted) -> None:
    url, engine = scripted()
    engine.go.clear()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(sent, url, picture_bytes(), params={"format": "json"})
        until(engine.begun.is_set)
        engine.server.handle_exit(signal.SIGTERM, None)
        until(lambda: is_closed(url))
        assert not answer.done()
        engine.go.set()
        assert len(answer.result().json()["pictures"]) == 1


def is_closed(url: str) -> bool:
    try:
        requests.get(f"{url}/health", timeout=5)
    except requests.ConnectionError:
        return True
    return False
