"""Fetch and prove one file: ``harness download`` against ``curl`` and ``sha256sum``, in turn.

    python benchmarks/download_vs_curl.py --output benchmarks/results/download_vs_curl.json

Both get the file from a server on loopback and check its sha256; new files each time. With
--connection-mb-per-s the server limits each connection, as servers far away do.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing import Event, Process, Queue
from pathlib import Path
from typing import Any

from harness.files.environment import package_version
from harness.files.layout import LOCK_NAME

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.pairs import keep
from tests.serving import Site, serving


def serve(path: Path, limit_bytes_per_s: float | None, address: Any, done: Any) -> None:
    """Serve ``path`` as ``/file`` until ``done``."""
    site = Site(files={"/file": path.read_bytes()}, connection_bytes_per_s=limit_bytes_per_s)
    with serving(site):
        address.put(site.url)
        done.wait()


def with_curl(url: str, sha256: str, folder: Path) -> None:
    """What people do by hand."""
    subprocess.run(["curl", "-sf", "-o", folder / "file", url], check=True)
    check = f"{sha256}  {folder / 'file'}\n"
    subprocess.run(["sha256sum", "--check", "--quiet"], input=check, text=True, check=True)


def with_harness(url: str, sha256: str, folder: Path) -> None:
    """The same by the command line, from a lock that pins the file."""
    artefact = {
        "name": "file",
        "group": "backbones",
        "kind": "file",
        "path": "file",
        "url": url,
        "sha256": sha256,
        "licence": "none",
        "source": "made by this benchmark",
    }
    lock = {"schema_version": 1, "artefacts": [artefact], "models": []}
    (folder / LOCK_NAME).write_text(json.dumps(lock), encoding="utf-8")
    command = [sys.executable, "-m", "harness", "download", "--only", "backbones"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def seconds(fetch: Callable[[str, str, Path], None], url: str, sha256: str, root: Path) -> float:
    """Wall time into an empty folder, which is removed afterwards."""
    folder = Path(tempfile.mkdtemp(dir=root))
    begun = time.perf_counter()
    fetch(url, sha256, folder)
    passed = time.perf_counter() - begun
    shutil.rmtree(folder)
    return passed


def measure(url: str, sha256: str, root: Path, repeats: int) -> dict[str, Any]:
    """Seconds of each side, in turn, medians, and harness / curl."""
    seconds(with_curl, url, sha256, root)  # fills caches
    rows = [
        (seconds(with_harness, url, sha256, root), seconds(with_curl, url, sha256, root))
        for _ in range(repeats)
    ]
    ours, theirs = (list(column) for column in zip(*rows, strict=True))
    return {
        "harness_s": ours,
        "curl_and_sha256sum_s": theirs,
        "harness_median_s": statistics.median(ours),
        "curl_and_sha256sum_median_s": statistics.median(theirs),
        "ratio": statistics.median(ours) / statistics.median(theirs),
    }


def version_of_curl() -> str:
    """As ``curl --version`` says it."""
    said = subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True).stdout
    return said.split()[1]


def main() -> None:
    """Make a file, serve it from another process, measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--connection-mb-per-s", type=float)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    limit = asked.connection_mb_per_s
    address, done = Queue(), Event()  # type: Queue[str], Any
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "served"
        path.write_bytes(os.urandom(asked.megabytes * 10**6))
        server = Process(target=serve, args=(path, limit and limit * 1e6, address, done))
        server.start()
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        try:
            found = measure(address.get() + "/file", sha256, Path(name), asked.repeats)
        finally:
            done.set()
            server.join()
    settings = {key: value for key, value in vars(asked).items() if key != "output"}
    versions = {"requests": package_version("requests"), "curl": version_of_curl()}
    keep({"settings": {**settings, **versions}, **found}, asked.output)


if __name__ == "__main__":
    main()
