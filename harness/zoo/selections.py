"""Annotation files that are selected from another artefact's file, by the licences of images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.core.errors import IntegrityError, PrerequisiteError
from harness.core.model import Artefact, Selection
from harness.files.atomic import write_text
from harness.files.json import read
from harness.zoo.proof import prove

#: What brings the file to select from.
AGAIN = "run: harness download --only annotations"


def make_selection(artefact: Artefact, selection: Selection, root: Path) -> tuple[str, ...]:
    """Write the file, and prove it.

    Args:
        artefact: Its entry in the lock.
        selection: Selection of the artefact.
        root: Folder of downloads.

    Returns:
        What was proven, one phrase each.

    Raises:
        PrerequisiteError: The file to select from is not there.
        IntegrityError: It is another one, or what is selected is not what is pinned.
    """
    whole = root / selection.annotations
    if not whole.is_file():
        raise PrerequisiteError(
            f"{artefact.name} is selected from {whole}, which is not there",
            hint=f"run: harness download --only annotations,{artefact.group}",
        )
    chosen = selected(read(whole), selection, where=whole)
    counts = len(chosen["images"]), len(chosen["annotations"])
    if counts != (selection.image_count, selection.annotation_count):
        raise IntegrityError(
            f"{whole} is not the file that {artefact.name} is selected from: expected "
            f"{selection.image_count:,} images and {selection.annotation_count:,} annotations of "
            f"its licences, found {counts[0]:,} and {counts[1]:,}",
            hint=AGAIN,
        )
    path = root / artefact.path
    # The pinned hash is of what Python's json writes by default.
    write_text(path, json.dumps(chosen))
    try:
        prove(artefact, path)
    except IntegrityError:
        path.unlink()  # or a data set of this name would be there
        raise
    phrase = f"{counts[0]:,} images and {counts[1]:,} annotations of {whole.name}"
    return (phrase, "has its sha256") if artefact.sha256 else (phrase,)


def selected(content: Mapping[str, Any], selection: Selection, *, where: Path) -> dict[str, Any]:
    """The part of an annotation file whose images have one of the licences.

    Args:
        content: The whole file.
        selection: With the licences.
        where: The file, for messages.

    Raises:
        IntegrityError: It does not say under what licence its images are.
    """
    try:
        addresses = {one["id"]: str(one["url"]).lower() for one in content["licenses"]}
        images = [
            image
            for image in content["images"]
            if any(part in addresses.get(image["license"], "") for part in selection.licences)
        ]
        ids = {image["id"] for image in images}
        rows = [row for row in content["annotations"] if row["image_id"] in ids]
        return {
            "info": content.get("info", {}),
            "licenses": content["licenses"],
            "images": images,
            "annotations": rows,
            "categories": content["categories"],
        }
    except (KeyError, TypeError) as error:
        fault = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise IntegrityError(
            f"{where} does not name the licence of each image: {fault}", hint=AGAIN
        ) from error
