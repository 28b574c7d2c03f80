"""The test suite cannot reach the network: 192.0.2.0/24 is set aside for documentation."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
import requests


def test_other_machines_are_refused() -> None:
    with socket.socket() as outgoing, pytest.raises(AssertionError, match=r"192\.0\.2\.1"):
        outgoing.connect(("192.0.2.1", 80))
    with pytest.raises(AssertionError, match=r"cocodataset\.org"):
        socket.getaddrinfo("images.cocodataset.org", 80)


def test_loopback_is_allowed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        with socket.create_connection(address, timeout=5) as outgoing, server.accept()[0]:
            assert outgoing.getpeername() == address


def test_children_are_refused_too() -> None:
    script = "import requests; requests.get('http://192.0.2.1/', timeout=5)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode != 0
    assert requests.exceptions.ProxyError.__name__ in done.stderr
