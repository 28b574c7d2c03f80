"""Keywords of the Python API: settings of ``pictures``.

Written by ``scripts/write_keywords.py`` from the requests, which define every setting; never
imported when a program runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict


class CompareSettings(TypedDict, total=False):
    """Keywords of `compare`, those of `CompareRequest`."""

    annotations: str | Path | None
    """COCO annotation file of files of predictions (default: the runs')."""

    resamples: int
    """Draws of the paired bootstrap; 0 for none (default: 200)."""

    html: str | Path | None
    """Also write a page with pictures (default: no page)."""

    threshold: float
    """Lowest score that is drawn on the page's pictures (default: 0.5)."""
