"""Decode and resize a folder of JPEGs with one thread and with two: how much do threads help?

    python benchmarks/decode_threads.py path/to/images

Behind decision 0003. It times Pillow itself, not the harness.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.pairs import keep

SHORT_EDGE_PX, LONG_EDGE_MAX_PX = 800, 1333


def decode_and_resize(path: Path) -> None:
    """Do what an evaluation does to one image before the network sees it."""
    with Image.open(path) as image:
        width, height = image.size
        scale = min(SHORT_EDGE_PX / min(width, height), LONG_EDGE_MAX_PX / max(width, height))
        size = (int(width * scale + 0.5), int(height * scale + 0.5))
        image.convert("RGB").resize(size, Image.Resampling.BILINEAR)


def images_per_second(paths: list[Path], threads: int) -> float:
    """Throughput of one pass over ``paths``."""
    with ThreadPoolExecutor(threads) as pool:
        begun = time.perf_counter()
        list(pool.map(decode_and_resize, paths))
        return len(paths) / (time.perf_counter() - begun)


def main() -> None:
    """Time one thread and two in turn, print and keep both throughputs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("images", type=Path, help="a folder of JPEGs")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    paths = sorted(asked.images.glob("*.jpg"))
    if not paths:
        sys.exit(f"no JPEG in {asked.images}")
    images_per_second(paths, 2)  # fills the page cache
    rounds = [
        (images_per_second(paths, 1), images_per_second(paths, 2)) for _ in range(asked.repeats)
    ]
    one, two = (list(column) for column in zip(*rounds, strict=True))
    found = {
        "one_thread_images_per_s": one,
        "two_threads_images_per_s": two,
        "times_faster": statistics.median(two) / statistics.median(one),
    }
    keep({"settings": {"images": len(paths), "repeats": asked.repeats}, **found}, asked.output)


if __name__ == "__main__":
    main()
