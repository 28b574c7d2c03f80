"""What every test may use, and the one thing no test may do: reach the network."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"

# One compute thread a process: sums come out in the same order everywhere, and parallel test
# workers do not fight over the cores. Read by torch when it is imported, inherited by children.
os.environ.setdefault("OMP_NUM_THREADS", "1")


class NetworkRefusedError(AssertionError):
    """A test tried to leave this machine."""


@pytest.fixture(scope="session", autouse=True)
def _loopback_only() -> Iterator[None]:
    """Refuse every connection and look-up that is not loopback, in this process and its children.

    Children are not patched; they meet a proxy on a port where nobody listens.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))
        patch.setattr(socket, "getaddrinfo", _guarded_lookup(socket.getaddrinfo))
        for name in ("http_proxy", "https_proxy"):
            patch.setenv(name, "http://127.0.0.1:9")
            patch.setenv(name.upper(), "http://127.0.0.1:9")
        for name in ("no_proxy", "NO_PROXY"):
            patch.setenv(name, "localhost,127.0.0.1,::1")
        yield


def _guarded(connect: Any) -> Any:
    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
            raise NetworkRefusedError(f"tests may not connect to {address!r}")
        return connect(self, address)

    return guarded


def _guarded_lookup(lookup: Any) -> Any:
    def guarded(host: Any, *arguments: Any, **options: Any) -> Any:
        if not _is_loopback(host):
            raise NetworkRefusedError(f"tests may not look up {host!r}")
        return lookup(host, *arguments, **options)

    return guarded


def _is_loopback(host: Any) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost", socket.gethostname()):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real images, annotations and predictions kept beside the checkout; skips where absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the real test data in ../shared/data, beside the checkout")
    return SHARED_DATA


@pytest.fixture
def odd_tmp_path(tmp_path: Path) -> Path:
    """An empty folder whose name has what breaks careless code: spaces, quotes, non-ASCII."""
    folder = tmp_path / 'it\'s an "odd" földer; $HOME & 100%'
    folder.mkdir()
    return folder
