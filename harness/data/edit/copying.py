"""Images of a data set copied to a folder of their own."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from harness.core.errors import UsageError
from harness.files.atomic import disk_errors, replacing


def copy_images(names: Sequence[str], source: Path, target: Path) -> None:
    """Copy files to the same names below another folder; one that is there is replaced.

    Args:
        names: Relative to both folders; they do not leave them.
        source: Where the files are.
        target: Where they go.

    Raises:
        UsageError: A file is missing, leaves its folder, or both folders are the same.
    """
    if source.resolve() == target.resolve():
        raise UsageError(f"{target} has the images already", hint="leave out --copy-images")
    root = source.resolve()
    for name in names:
        if not (source / name).resolve().is_relative_to(root) or Path(name).is_absolute():
            raise UsageError(f"{name} is outside of {source}", hint="see: harness data clean")
    missing = [name for name in names if not (source / name).is_file()]
    if missing:
        raise UsageError(
            f"{len(missing)} of {len(names)} images are not in {source}, the first is {missing[0]}",
            hint="see --copy-images",
        )
    with disk_errors(target):
        for name in names:
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                shutil.copyfile(source / name, temporary)
