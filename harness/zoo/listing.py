"""The zoo as a list: references, sizes, what is on disk. Reads only JSON, so that it is quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.files.json import read
from harness.files.layout import find_lock

OnDisk = Literal["yes", "no", "embedded", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """One model entry."""

    name: str
    """What ``--model`` and `load_model` call it."""

    title: str
    """The same in words."""

    schedule: str | None
    """Of the published training; None where there is none."""

    box_ap: float | None
    """Published box AP, 0-100."""

    mask_ap: float | None
    """Published mask AP, 0-100."""

    s_per_image: float | None
    """Published seconds per image on a V100."""

    bytes: int | None
    """Of the checkpoint, as pinned or found on disk; None where neither is known."""

    on_disk: OnDisk
    """Whether the checkpoint is there; ``embedded`` ones come with the package, ``none`` was
    published."""

    entry: dict[str, Any] = field(repr=False)
    """The whole entry as the lock has it."""


def list_models(root: Path) -> tuple[ListedModel, ...]:
    """Every model entry of the lock, in its order.

    Args:
        root: Folder of checkpoints.

    Raises:
        IntegrityError: The lock is not valid.
    """
    lock = read(find_lock())
    try:
        artefacts = {artefact["name"]: artefact for artefact in lock["artefacts"]}
        return tuple(_listed(entry, artefacts, root) for entry in lock["models"])
    except (KeyError, TypeError):
        from harness.zoo.lock import read_lock

        read_lock()  # validates, which takes longer, and reports what is wrong
        raise


def _listed(entry: dict[str, Any], artefacts: dict[str, Any], root: Path) -> ListedModel:
    size, on_disk = _checkpoint(entry, artefacts, root)
    return ListedModel(
        name=entry["name"],
        title=entry["title"],
        schedule=(entry["recipe"] or {}).get("schedule"),
        box_ap=_reference(entry, "bbox/AP"),
        mask_ap=_reference(entry, "segm/AP"),
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
