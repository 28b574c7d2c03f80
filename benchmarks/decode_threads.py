"""Decode and resize a folder of JPEGs with one thread and with two: how much do threads help?

    python benchmarks/decode_threads.py path/to/images

Behind decision 0003. It times Pillow itself, not the harness.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

SHORT_EDGE_PX, LONG_EDGE_MAX_PX = 800, 1333
ROUNDS = 3


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
    """Print the best of a few rounds for one and two threads, taken in turns, and the ratio."""
    paths = sorted(Path(sys.argv[1]).glob("*.jpg"))
    images_per_second(paths, 2)  # fills the page cache
    rounds = [(images_per_second(paths, 1), images_per_second(paths, 2)) for _ in range(ROUNDS)]
    one, two = (max(column) for column in zip(*rounds, strict=True))
    sys.stdout.write(
        f"{len(paths)} images, best of {ROUNDS}: 1 thread {one:.1f} images/s, "
        f"2 threads {two:.1f} images/s, ratio {two / one:.2f}\n"
    )


if __name__ == "__main__":
    main()
