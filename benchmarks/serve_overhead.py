"""What the service costs over its engine: latency of one client, throughput of several.

    python benchmarks/serve_overhead.py --images photos --count 20

``harness serve`` runs in a process of its own, on loopback; the bare engine in this one, which
decodes, resizes and infers a picture. The served way sends the same bytes and takes the answer:
JSON with all objects, or a PNG of those at 0.5 or more. All in turn, picture by picture, so that
one waits while the other computes.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.pairs import in_turn, keep
from harness.core.engine import Engine
from harness.core.requests.loading import ServeRequest
from harness.files.layout import datasets_folder
from harness.measure.timing import NULL_STOPWATCH
from harness.serve.images import Upload, decode
from harness.serve.server import find_served, open_served
from harness.workflows.parity import images_in
from tests.composing import composed

#: Requests that several clients have sent in turn before the clock stops.
ROUNDS = 3


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    contents = [path.read_bytes() for path in images_in(asked.images)[: asked.count]]
    words = ["--model", asked.model, "--precision", asked.precision]
    words += [] if asked.weights is None else ["--weights", str(asked.weights)]
    words += [] if asked.threads is None else ["--threads", str(asked.threads)]
    request = composed(
        ServeRequest,
        model=asked.model,
        weights=asked.weights,
        root=datasets_folder(),
        precision=asked.precision,
        threads=asked.threads,
    )
    engine = open_served(request, find_served(request))
    with served(words) as url:
        result = measured(engine, url, contents, asked.repeats, asked.clients)
    names = ("count", "repeats", "model", "precision", "threads", "clients")
    keep({"settings": {name: getattr(asked, name) for name in names}, **result}, asked.output)


def measured(
    engine: Engine, url: str, contents: list[bytes], repeats: int, clients: int
) -> dict[str, Any]:
    """Seconds of a picture each way; pictures per second of one client and of several."""
    session = requests.Session()

    def bare(content: bytes) -> None:
        prepared = engine.prepare(decode(Upload(name="", content=content)), NULL_STOPWATCH)
        engine.infer([prepared], NULL_STOPWATCH)

    def posted(content: bytes, format: str) -> None:
        address = f"{url}/predict?format={format}" + ("&threshold=0" if format == "json" else "")
        headers = {"Content-Type": "image/jpeg"}
        session.post(address, data=content, headers=headers, timeout=600).raise_for_status()

    seconds: dict[str, list[float]] = {"bare": [], "json": [], "png": []}
    for content in contents:
        ways = (
            lambda content=content: bare(content),
            lambda content=content: posted(content, "json"),
            lambda content=content: posted(content, "png"),
        )
        for column, found in zip(seconds.values(), in_turn(ways, repeats), strict=True):
            column.append(statistics.median(found))
    overheads = [json - own for own, json in zip(seconds["bare"], seconds["json"], strict=True)]
    return {
        **{f"{name}_median_s": statistics.median(found) for name, found in seconds.items()},
        "overhead_json_median_s": statistics.median(overheads),
        "overhead_json_most_s": max(overheads),
        "one_after_the_other_per_s": len(contents) / sum(seconds["bare"]),
        "one_client_per_s": throughput(lambda one: posted(one, "json"), contents, 1),
        "several_clients_per_s": throughput(lambda one: posted(one, "json"), contents, clients),
    }


def throughput(send: Any, contents: list[bytes], clients: int) -> float:
    """Pictures per second of so many clients that always wait for one answer."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(send, contents * ROUNDS))
    return ROUNDS * len(contents) / (time.perf_counter() - begun)


@contextmanager
def served(words: list[str]) -> Iterator[str]:
    """The address of the command with these words, until the block ends."""
    command = [sys.executable, "-m", "harness", "serve", "--port", "0", "--quiet", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
