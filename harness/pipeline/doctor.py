"""``harness doctor``: what is installed, what is there, what is known not to work, and the fix."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.core.errors import HarnessError
from harness.data.catalog import COCO_LAYOUT, DOWNLOAD_GROUPS
from harness.files.environment import cpu_name, package_version, usable_cpus
from harness.zoo.lock import find_artefact, read_lock

#: torchvision releases that work with each torch release; another pair fails at import with
#: "operator torchvision::nms does not exist".
TORCHVISION_OF = {"2.11": "0.26", "2.12": "0.27"}

#: Full COCO (train, val, annotations), archives and unpacked side by side, is about 45 GB; what
#: evaluation needs is about 3 GB.
EVALUATION_BYTES = 3 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One row: what was looked at, what was found, whether that is fine, and what to do if not."""

    subject: str
    found: str
    status: Literal["ok", "warn", "fail"]
    fix: str = ""


def diagnose(root: Path) -> list[Finding]:
    """Everything worth knowing before a run, most basic first."""
    return [*_software(), *_devices(), *_optional(), *_data(root)]


def _software() -> Iterator[Finding]:
    version = platform.python_version()
    ok = sys.version_info >= (3, 10)
    yield _finding("Python", version, ok, "install Python 3.10 or newer")
    for name in ("torch", "torchvision", "numpy", "Pillow", "pycocotools", "faster-coco-eval"):
        found = package_version(name)
        yield _finding(name, found or "not installed", found is not None, "run: make setup")
    yield _pairing()


def _pairing() -> Finding:
    torch_version = package_version("torch") or ""
    vision_version = package_version("torchvision") or ""
    expected = TORCHVISION_OF.get(".".join(torch_version.split(".")[:2]))
    fits = expected is not None and vision_version.startswith(expected + ".")
    if fits:
        try:
            import torch
            import torchvision

            torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
        except (ImportError, RuntimeError, OSError) as error:
            return Finding(
                subject="torch with torchvision",
                found=str(error),
                status="fail",
                fix="reinstall both: make clean setup",
            )
    return _finding(
        "torch with torchvision",
        f"{torch_version} with {vision_version}",
        fits,
        "known pairs: " + ", ".join(f"{t} with {v}" for t, v in TORCHVISION_OF.items()),
    )


def _devices() -> Iterator[Finding]:
    yield Finding(subject="CPU", found=f"{cpu_name()}, {usable_cpus()} cores", status="ok")
    try:
        import torch
    except ImportError:
        return
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = ", ".join(torch.cuda.get_device_name(index) for index in range(count))
    driver = shutil.which("nvidia-smi") is not None
    if count:
        yield Finding(subject="GPU", found=names, status="ok")
    elif driver:
        yield Finding(
            subject="GPU",
            found="nvidia-smi is there, torch sees no device",
            status="warn",
            fix=f"torch is built for CUDA {torch.version.cuda}: update the driver, or install the "
            "torch build for the driver you have",
        )
    else:
        yield Finding(subject="GPU", found="none; runs use the CPU", status="ok")


def _optional() -> Iterator[Finding]:
    if importlib.util.find_spec("detectron2") is None:
        yield Finding(
            subject="detectron2",
            found="not installed; needed only for --engine detectron2 and parity",
            status="ok",
        )
        return
    setuptools = package_version("setuptools") or "0"
    old = int(setuptools.split(".")[0]) < 80
    yield Finding(
        subject="detectron2",
        found=f"{package_version('detectron2')}, setuptools {setuptools}",
        status="ok" if old else "warn",
        fix=""
        if old
        else "its model_zoo needs pkg_resources: pip install 'setuptools<80' "
        "(harness itself does not use that module)",
    )


def _data(root: Path) -> Iterator[Finding]:
    nearest = next(path for path in (root, *root.absolute().parents) if path.exists())
    free = shutil.disk_usage(nearest).free
    yield _finding(
        "disk",
        f"{free / 1e9:.0f} GB free at {nearest}",
        free > EVALUATION_BYTES,
        "evaluation needs about 3 GB; choose another --root",
        worst="warn",
    )
    for name, parts in COCO_LAYOUT.items():
        there = all((root / part).exists() for part in parts)
        fix = f"harness download --only {DOWNLOAD_GROUPS[name]}"
        yield _finding(name, "there" if there else "not there", there, fix, worst="warn")
    try:
        lock = read_lock()
    except HarnessError as error:
        yield Finding(subject="lock", found=error.message, status="fail", fix=error.hint or "")
        return
    for entry in lock.models:
        if entry.checkpoint is not None:
            there = (root / find_artefact(lock, entry.checkpoint).path).is_file()
            found = "there" if there else "not there"
            fix = "harness download --only checkpoints"
            yield _finding(f"checkpoint {entry.name}", found, there, fix, worst="warn")


def _finding(
    subject: str, found: str, ok: bool, fix: str, worst: Literal["warn", "fail"] = "fail"
) -> Finding:
    return Finding(
        subject=subject, found=found, status="ok" if ok else worst, fix="" if ok else fix
    )
