"""``harness serve`` as a process: it says where it listens, and leaves in order."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from harness.cli.main import run
from harness.files.extras import install_command
from tests.serve.conftest import picture_bytes, sent, until

Started = Callable[..., tuple["subprocess.Popen[str]", str]]


@pytest.fixture
def started(embedded_root: Path) -> Iterator[Started]:
    """Starts the command; gives the process and its address."""
    with ExitStack() as stack:

        def start(*words: str) -> tuple[subprocess.Popen[str], str]:
            command = [sys.executable, "-m", "harness", "serve", "--port", "0", *words]
            process = stack.enter_context(
                subprocess.Popen(
                    [*command, "--threads", "1", "--root", str(embedded_root)],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.fullmatch(r"serving tiny \(native, .*, fp32\) at (http://\S+)\n", line)
            assert found, (line, process.poll() is None or process.communicate()[1])
            return process, found[1]

        yield start


@pytest.mark.slow
def test_sigterm_finishes_what_is_inside(started: Started) -> None:
    process, url = started()
    contents = [picture_bytes()] * 12
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(sent, url, *contents, params={"format": "json"})
        until(lambda: requests.get(f"{url}/health", timeout=60).json()["places_taken"] == 12)
        process.send_signal(signal.SIGTERM)
        assert len(answer.result().json()["pictures"]) == 12
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "POST /predict 200" in said
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/health", timeout=5)


@pytest.mark.slow
def test_it_tells_about_itself(started: Started) -> None:
    process, url = started("--quiet")
    info = requests.get(f"{url}/info", timeout=60).json()
    assert info["model"]["name"] == "tiny"
    assert [one["category"] for one in info["categories"]][:2] == ["circle", "square"]
    assert len(info["examples"]) == 6
    example = requests.get(f"{url}/{info['examples'][0]['url']}", timeout=60)
    assert example.headers["Content-Type"] == "image/png"
    assert sent(url, example.content).headers["X-Objects"] != "0"
    page = requests.get(url, timeout=60)
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    schema = requests.get(f"{url}/openapi.json", timeout=60).json()
    answer = schema["paths"]["/predict"]["post"]["responses"]["200"]["content"]
    assert {"application/json", "image/png", "image/jpeg"} <= answer.keys()
    docs = requests.get(f"{url}/docs", timeout=60).text
    assert not re.search(r"""(src|href)=["'](https?:)?//""", docs)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "200" not in said


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert run(["serve", "--port", str(other.getsockname()[1])]) == 2
    assert "Address already in use" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--port", "70000"], 2, "--port must be from 0 to 65535, got"),
        (["--queue", "0"], 2, "--queue must be at least 1"),
        (["--max-upload-mb", "-1"], 2, "--max-upload-mb must be above 0"),
        (["--model", "R_50_FPM_3x"], 2, "did you mean R_50_FPN_3x"),
        (["--weights", "no.pkl"], 2, "no such checkpoint file: no.pkl"),
        (["--precision", "fp16", "--device", "cpu"], 2, "fp16 needs a CUDA device"),
        (["--model", "R_50_FPN_3x", "--root", "nowhere"], 3, "harness download"),
    ],
)
def test_what_cannot_be_meant(
    words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["serve", "--port", "0", *words]) == code
    assert said in capsys.readouterr().err


def test_categories_must_fit_the_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content: dict[str, Any] = {"images": [], "annotations": []}
    content["categories"] = [{"id": 1, "name": "panda"}]
    (tmp_path / "one.json").write_text(json.dumps(content), encoding="utf-8")
    assert run(["serve", "--annotations", str(tmp_path / "one.json")]) == 4
    assert "tiny knows 8 classes" in capsys.readouterr().err


def test_without_the_extra_it_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert run(["serve"]) == 3
    error = capsys.readouterr().err
    assert "needs the package uvicorn" in error
    assert install_command("serve") in error
