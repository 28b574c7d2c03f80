"""Keywords of the Python API: settings of ``zoo``.

Written by ``scripts/write_keywords.py`` from the requests, which define every setting; never
imported when a program runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, TypedDict


class DownloadSettings(TypedDict, total=False):
    """Keywords of `download`, those of `DownloadRequest`."""

    only: Iterable[
        Literal[
            "annotations",
            "panoptic",
            "panoptic_train",
            "val",
            "val100",
            "rem",
            "train",
            "train_proposals",
            "checkpoints",
            "zoo",
            "torchvision",
            "backbones",
        ]
    ]
    """Some of annotations,panoptic,panoptic_train,val,val100,rem,train,train_proposals,checkpoints,
    zoo,torchvision,backbones; the default is what evaluation needs (of annotations, panoptic,
    panoptic_train, val, val100, rem, train, train_proposals, checkpoints, zoo, torchvision,
    backbones; default: annotations,val,checkpoints)."""

    models: Iterable[str]
    """Only the checkpoints of these model entries (default: all)."""

    root: str | Path
    """Folder everything goes to (default: datasets)."""

    mirror: str | None
    """Http, https or file address to fetch everything from, laid out as the originals (default: the
    published addresses)."""

    jobs: int
    """Connections at once (default: 4)."""

    keep_archives: bool
    """Keep archives after they were unpacked."""

    dry_run: bool
    """Say what would be done, do nothing."""


class CheckWeightsSettings(TypedDict, total=False):
    """Keywords of `check_weights`, those of `CheckWeightsRequest`."""

    model: str | None
    """Model entry it must fit (default: any)."""

    annotations: str | Path | None
    """COCO file that lists the classes of weights of your own (default: the model's own
    classes)."""
