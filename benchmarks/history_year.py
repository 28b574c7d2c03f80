"""A simulated year of nights, 365 × 12 cells: how long do ``harness history`` and the page take?

python benchmarks/history_year.py
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.pairs import keep
from harness.core.nightly import Night
from harness.files.history import NightRow, add_night
from harness.report.page import night_page

CELLS = 12

#: Standard deviation of an AP, and share of a time, from night to night.
NOISE_AP, NOISE_TIME = 0.03, 0.02


def simulate(path: Path, nights: int) -> NightRow:
    """Fill ``path`` with a year; the last night."""
    random = np.random.Generator(np.random.PCG64(1))
    begun = datetime(2026, 1, 1, 1, tzinfo=timezone.utc)
    for number in range(nights):
        points = []
        for cell in range(CELLS):
            values = {
                "bbox/AP": 38.0 + random.normal(0, NOISE_AP),
                "segm/AP": 35.0 + random.normal(0, NOISE_AP),
                "s_per_image": 0.05 * random.normal(1, NOISE_TIME),
            }
            names = (f"model{cell}-native-fp32-cuda", "H200", "digest", "pass")
            points += [(*names, metric, float(value)) for metric, value in values.items()]
        when = begun + timedelta(days=number)
        night = NightRow(
            night_id=f"{when:%Y%m%d-%H%M%S}",
            created_utc=when.isoformat(),
            status="pass",
            environment={},
        )
        add_night(path, night, points)
    return night


def main() -> None:
    """Simulate, time both a few times, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nights", type=int, default=365)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        history = Path(folder) / "history.sqlite"
        last = simulate(history, asked.nights)
        night = Night(
            night_id=last.night_id,
            created_utc=last.created_utc,
            harness_version="",
            environment={"hostname": ""},
            cells=(),
        )
        pages, tables = [], []
        for _ in range(asked.repeats):
            begun = time.perf_counter()
            night_page(night, history)
            pages.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            command = [sys.executable, "-m", "harness", "history", "--results", folder]
            subprocess.run(command, check=True, capture_output=True)
            tables.append(time.perf_counter() - begun)
    settings = {"nights": asked.nights, "cells": CELLS, "repeats": asked.repeats}
    keep({"settings": settings, "page_s": pages, "history_s": tables}, asked.output)


if __name__ == "__main__":
    main()
