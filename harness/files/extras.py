"""How to install the packages of an optional part, such as ``serve``."""

from __future__ import annotations

import re
import shlex
from importlib import metadata
from pathlib import Path

from harness.files.layout import checkout_folder

#: Name of the distribution; the package and the command are called ``harness``.
DISTRIBUTION = "coco-harness"


def install_command(extra: str) -> str:
    """Return the command that installs the packages of an extra.

    In a checkout that is the extra by its name. Elsewhere the packages are named themselves, as the
    distribution's metadata lists them: a command must not depend on what an index has under the
    name of this project.
    """
    checkout = checkout_folder()
    if checkout is not None:
        place = "." if Path.cwd() == checkout else str(checkout)
        return f"pip install {shlex.quote(f'{place}[{extra}]')}"
    return f"pip install {shlex.join(packages_of(extra))}"


def packages_of(extra: str) -> tuple[str, ...]:
    """Return the requirements of an extra, such as ``fastapi>=0.115``; empty when unknown."""
    try:
        listed = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return ()
    marker = re.compile(rf"""\bextra\s*==\s*['"]{re.escape(extra)}['"]""")
    found = (entry.partition(";") for entry in listed)
    return tuple(name.strip() for name, _, condition in found if marker.search(condition))
