"""The zoo as a list: references, sizes, what is on disk. Reads only JSON, so that it is quick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.core.errors import UsageError
from harness.core.tasks import main_metric
from harness.files.json import read
from harness.files.layout import find_lock
from harness.zoo.architectures import architecture_of, is_known

OnDisk = Literal["yes", "no", "embedded", "none"]

#: What a model is for, by the most telling number it is published with.
TASKS = {
    "box_proposals/AR@1000": "region proposals",
    "panoptic_seg/PQ": "panoptic segmentation",
    "keypoints/AP": "person keypoints",
    "segm/AP": "instance segmentation",
    "bbox/AP": "object detection",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """One model entry."""

    name: str
    """What ``--model`` and `load_model` call it."""

    title: str
    """The same in words."""

    task: str
    """What it is for, of ``TASKS``."""

    computable: bool
    """Whether this version has its network; its published numbers are listed either way."""

    schedule: str | None
    """Of the published training; None where there is none."""

    box_ap: float | None
    """Published box AP, 0-100."""

    mask_ap: float | None
    """Published mask AP, 0-100."""

    keypoint_ap: float | None
    """Published keypoint AP, 0-100."""

    pq: float | None
    """Published panoptic quality, 0-100."""

    proposal_ar: float | None
    """Published recall of 1000 proposals, 0-100."""

    s_per_image: float | None
    """Published seconds per image on a V100."""

    bytes: int | None
    """Of the checkpoint, as pinned or found on disk; None where neither is known."""

    on_disk: OnDisk
    """Whether the checkpoint is there; ``embedded`` ones come with the package, ``none`` was
    published."""

    entry: dict[str, Any] = field(repr=False)
    """The whole entry as the lock has it."""


def list_models(root: Path, words: Sequence[str] = ()) -> tuple[ListedModel, ...]:
    """The model entries of the lock, in its order.

    Args:
        root: Folder of checkpoints.
        words: Only models whose name, title, network or task contains every one of these, in
            capitals or not.

    Raises:
        IntegrityError: The lock is not valid.
        UsageError: No model has all the words.
    """
    lock = read(find_lock())
    try:
        artefacts = {artefact["name"]: artefact for artefact in lock["artefacts"]}
        found = tuple(_listed(entry, artefacts, root) for entry in lock["models"])
    except (KeyError, TypeError):
        from harness.zoo.lock import read_lock

        read_lock()  # validates, which takes longer, and reports what is wrong
        raise
    chosen = tuple(one for one in found if _has(one, words))
    if not chosen:
        raise UsageError(
            f"no model has all of: {' '.join(words)}",
            hint=f"without words all {len(found)} are listed: harness models",
        )
    return chosen


def _has(model: ListedModel, words: Sequence[str]) -> bool:
    texts = (model.name, model.title, model.task, model.entry["architecture"])
    text = " ".join(texts).lower()
    return all(word.lower() in text for word in words)


def _task(entry: dict[str, Any]) -> str:
    metrics = {reference["metric"] for reference in entry["references"]}
    found = next((task for metric, task in TASKS.items() if metric in metrics), None)
    if found is None and is_known(entry["architecture"]):
        return TASKS[main_metric(architecture_of(entry["architecture"]).tasks[-1])]
    return found or TASKS["bbox/AP"]


def _listed(entry: dict[str, Any], artefacts: dict[str, Any], root: Path) -> ListedModel:
    size, on_disk = _checkpoint(entry, artefacts, root)
    return ListedModel(
        name=entry["name"],
        title=entry["title"],
        task=_task(entry),
        computable=is_known(entry["architecture"]),
        schedule=(entry["recipe"] or {}).get("schedule"),
        box_ap=_reference(entry, "bbox/AP"),
        mask_ap=_reference(entry, "segm/AP"),
        keypoint_ap=_reference(entry, "keypoints/AP"),
        pq=_reference(entry, "panoptic_seg/PQ"),
        proposal_ar=_reference(entry, "box_proposals/AR@1000"),
        s_per_image=_reference(entry, "s_per_image"),
        bytes=size,
        on_disk=on_disk,
        entry=entry,
    )


def _reference(entry: dict[str, Any], metric: str) -> float | None:
    for reference in entry["references"]:
        if reference["metric"] == metric and reference["role"] != "independent":
            value: float = reference["value"]
            return value
    return None


def _checkpoint(
    entry: dict[str, Any], artefacts: dict[str, Any], root: Path
) -> tuple[int | None, OnDisk]:
    if entry["checkpoint"] is None:
        embedded = entry.get("embedded")
        return (None, "none") if embedded is None else (embedded["bytes"], "embedded")
    artefact = artefacts[entry["checkpoint"]]
    path = root / artefact["path"]
    there = path.is_file()
    size: int | None = artefact["bytes"] or (path.stat().st_size if there else None)
    return size, "yes" if there else "no"
