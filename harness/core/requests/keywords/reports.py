"""Keywords of the Python API: settings of ``reports``.

Written by ``scripts/write_keywords.py`` from the requests, which define every setting; never
imported when a program runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypedDict


class ForeignOptionsKeys(TypedDict, total=False):
    """Keywords of `ForeignOptions`."""

    class_ids: Literal[
        "auto",
        "ids",
        "index-from-0",
        "index-from-1",
        "file-order",
        "id-plus-1",
        "id-minus-1",
        "coco-ids",
    ]
    """What the category ids of a file of predictions are; auto: what is certain (of auto, ids,
    index-from-0, index-from-1, file-order, id-plus-1, id-minus-1, coco-ids; default: auto)."""


class AnalyzeSettings(ForeignOptionsKeys, total=False):
    """Keywords of `analyze`, those of `AnalyzeRequest`."""

    predictions: str | Path | None
    """File of predictions, of COCO's form or another program's (default: the run's)."""

    annotations: str | Path | None
    """COCO annotation file (default: the run's)."""

    threshold: float
    """Score from which detections count for confusions and for the errors of an image (default:
    0.5)."""

    boundary: bool
    """Also compute AP of the masks' boundaries, for information."""


class WriteReportSettings(TypedDict, total=False):
    """Keywords of `write_report`, those of `ReportRequest`."""

    output: str | Path | None
    """File of the page (default: report.html in the run)."""
