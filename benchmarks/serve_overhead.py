"""What the service costs over its engine: latency of one client, throughput of several.

    python benchmarks/serve_overhead.py --images photos --count 20

One process holds the engine and the service, on loopback. The bare way decodes, resizes and infers
a picture, one after the other; the served way sends the same bytes over HTTP and takes JSON. Both in
turn, picture by picture.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
import uvicorn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.pairs import in_turn, keep
from harness.core.requests import ServeRequest
from harness.measure.timing import NULL_STOPWATCH
from harness.pipeline.parity import find_images
from harness.serve.app import build_app
from harness.serve.engine_thread import EngineThread
from harness.serve.images import Upload, decode
from harness.serve.model import find_served, open_served
from harness.serve.server import listening, url_of
from harness.serve.service import Service

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
    request = ServeRequest(
        model=asked.model,
        weights=asked.weights,
        precision=asked.precision,
        threads=asked.threads,
        quiet=True,
    )
    contents = [path.read_bytes() for path in find_images(asked.images)[: asked.count]]
    model = find_served(request)
    engine = EngineThread(lambda: open_served(request, model), request.queue)
    with served(Service(request, model, engine)) as url:
        result = measured(engine, url, contents, asked.repeats, asked.clients)
    names = ("count", "repeats", "model", "precision", "threads", "clients")
    keep({"settings": {name: getattr(asked, name) for name in names}, **result}, asked.output)


def measured(
    engine: EngineThread, url: str, contents: list[bytes], repeats: int, clients: int
) -> dict[str, Any]:
    """Seconds of a picture each way; pictures per second of one client and of several."""
    session = requests.Session()

    def bare(content: bytes) -> None:
        prepared = engine.engine.prepare(decode(Upload(name="", content=content)), NULL_STOPWATCH)
        engine.engine.infer([prepared], NULL_STOPWATCH)

    def posted(content: bytes, format: str) -> None:
        address = f"{url}/predict?format={format}&threshold=0"
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
def served(service: Service) -> Iterator[str]:
    """The address of the service, until the block ends."""
    server = uvicorn.Server(uvicorn.Config(build_app(service), log_config=None, access_log=False))
    with listening("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield url_of(listener)
        finally:
            server.should_exit = True
            thread.join()
            service.close()


if __name__ == "__main__":
    main()
