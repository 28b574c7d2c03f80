"""``harness doctor``: what is installed, what is there, what is known not to work, and the fix."""

from __future__ import annotations

import importlib.util
import platform
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.core.errors import HarnessError, UsageError
from harness.core.model import Lock
from harness.data.catalog import COCO_LAYOUT, DOWNLOAD_GROUPS, SECOND_OPINIONS
from harness.files.environment import (
    TORCHVISION_OF,
    cpu_name,
    gpu_drivers,
    package_version,
    usable_cpus,
)
from harness.files.layout import Place, datasets_place, results_place
from harness.zoo.lock import find_artefact, read_lock

PACKAGES = ("torch", "torchvision", "numpy", "Pillow", "pycocotools", "faster-coco-eval")

#: Evaluation needs val2017 with its archive, annotations and a checkpoint; all of COCO is 45 GB.
EVALUATION_BYTES = 3 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One row: what was looked at, what was found, whether that is fine, and what to do if not."""

    subject: str
    """What was looked at: a package, a device, a folder, a file."""

    found: str
    """Its version, state or place."""

    status: Literal["ok", "warn", "fail"]
    """``fail`` breaks every run, ``warn`` only some."""

    fix: str = ""
    """What to do; empty when the status is ``ok``."""


def diagnose(root: Path | None = None) -> list[Finding]:
    """Look at the machine, most basic things first.

    Args:
        root: Folder of data sets and checkpoints; None looks at the default one.

    Raises:
        UsageError: An environment variable that chooses a folder names a file.
    """
    data, below = datasets_place(), ""
    if root is not None and root.absolute() != data.path.absolute():
        data, below = Place(path=root, reason="--root"), f" --root {shlex.quote(str(root))}"
    places = _places(data, results_place())
    return [*_software(), *_devices(), _detectron2(), _onnx(), *places, *_data(data.path, below)]


def pairing(torch_version: str, torchvision_version: str, load_error: str | None) -> Finding:
    """Return whether a release of torch and one of torchvision belong together.

    Args:
        torch_version: Version of the installed package, such as ``2.12.1+cu126``.
        torchvision_version: Version of the installed package.
        load_error: First line of the error that importing them raised; None when they load.
    """
    subject, found = "torch with torchvision", f"{torch_version} with {torchvision_version}"
    release = ".".join(torch_version.split(".")[:2])
    known = torchvision_version.startswith(f"{TORCHVISION_OF.get(release)}.")
    builds = {version.partition("+")[2] for version in (torch_version, torchvision_version)}
    pairs = ", ".join(f"{torch} with {vision}" for torch, vision in TORCHVISION_OF.items())
    if load_error is None:
        fix = f"it loads, but harness is tested with: {pairs}"
        return _finding(subject, found, known, fix, worst="warn")
    if not known:
        fix = f"install a pair that fits ({pairs}): make clean setup"
    elif len(builds) > 1:
        fix = "they are built for different CUDA versions: install both from one index"
    else:
        fix = "reinstall both: make clean setup"
    return Finding(subject=subject, found=f"{found}: {load_error}", status="fail", fix=fix)


def _software() -> Iterator[Finding]:
    version = platform.python_version()
    ok = sys.version_info >= (3, 10)
    yield _finding("Python", version, ok, "install Python 3.10 or newer: make setup PYTHON=…")
    versions = {name: package_version(name) for name in PACKAGES}
    for name, found in versions.items():
        yield _finding(name, found or "not installed", found is not None, "run: make setup")
    torch_version, torchvision_version = versions["torch"], versions["torchvision"]
    if torch_version and torchvision_version:
        yield pairing(torch_version, torchvision_version, _load_error())


def _load_error() -> str | None:
    """Return the first line of the error that importing torch and torchvision raises, or None.

    One operator is run as well: a wrong pair may fail only then.
    """
    try:
        import torch
        import torchvision

        torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    return None


def _devices() -> Iterator[Finding]:
    yield Finding(subject="CPU", found=f"{cpu_name()}, {usable_cpus()} cores", status="ok")
    drivers = gpu_drivers()
    if drivers:
        yield Finding(subject="GPU driver", found=drivers[0], status="ok")
    try:
        import torch
    except (ImportError, OSError):
        return
    built = torch.version.cuda
    yield Finding(subject="CUDA of torch", found=built or "none: CPU only", status="ok")
    from harness.engines.devices import gpu_count

    count = gpu_count()
    if count:
        yield from _gpus(count)
    elif not drivers:
        yield Finding(subject="GPU", found="none; runs use the CPU", status="ok")
    else:
        fix = (
            "install a torch built for CUDA"
            if built is None
            else f"torch needs a driver for CUDA {built}: update the driver, or install the torch "
            "built for yours; see also CUDA_VISIBLE_DEVICES"
        )
        found = "there is a driver, but torch sees no device; runs use the CPU"
        yield Finding(subject="GPU", found=found, status="warn", fix=fix)


def _gpus(count: int) -> Iterator[Finding]:
    """Return the names of the GPUs, and each kind that does not compute in bf16 by itself."""
    import torch

    from harness.engines.devices import emulation, require_precision

    places = [torch.device("cuda", index) for index in range(count)]
    names = ", ".join(torch.cuda.get_device_name(one) for one in places)
    yield Finding(subject="GPU", found=names, status="ok")
    reported = set()
    for place in places:
        said = emulation("bf16", place)
        if said is None or said in reported:
            continue
        reported.add(said)
        try:
            require_precision("bf16", place)
        except UsageError as error:
            fix = error.hint or ""
            yield Finding(subject="bf16", found=error.message, status="warn", fix=fix)
        else:
            yield Finding(subject="bf16", found=said, status="ok")


def _detectron2() -> Finding:
    subject = "detectron2"
    if importlib.util.find_spec(subject) is None:
        found = "not installed; needed only for --engine detectron2 and harness parity"
        return Finding(subject=subject, found=found, status="ok")
    found = f"{package_version(subject)}, setuptools {package_version('setuptools')}"
    fix = (
        "its model_zoo module imports pkg_resources, which new setuptools lacks: "
        "pip install 'setuptools<80' (harness does not use that module)"
    )
    complete = importlib.util.find_spec("pkg_resources") is not None
    return _finding(subject, found, complete, fix, worst="warn")


def _onnx() -> Finding:
    subject, runtime = "ONNX", package_version("onnxruntime")
    missing = [name for name in ("onnx", "onnxscript") if package_version(name) is None]
    if runtime is None:
        found = "onnxruntime is not installed; needed only for --engine onnx and harness export"
    else:
        found = f"onnxruntime {runtime}"
        found += f"; without {' and '.join(missing)}, which harness export needs" if missing else ""
    return Finding(subject=subject, found=found, status="ok")


def _places(data: Place, results: Place) -> Iterator[Finding]:
    """Which folders are used by default, and which rule chose them."""
    for subject, place in (("data sets and checkpoints", data), ("results", results)):
        yield Finding(subject=subject, found=f"{place.path} ({place.reason})", status="ok")


def _data(root: Path, below: str) -> Iterator[Finding]:
    """Data sets and checkpoints; ``below`` is the option of a root that is not the default."""
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
        if name in SECOND_OPINIONS and not there:
            continue
        fix = f"harness download --only {DOWNLOAD_GROUPS[name]}{below}"
        yield _finding(name, "there" if there else "not there", there, fix, worst="warn")
    try:
        lock = read_lock()
    except HarnessError as error:
        yield Finding(subject="lock", found=error.message, status="fail", fix=error.hint or "")
        return
    yield from _checkpoints(lock, root, below)


def _checkpoints(lock: Lock, root: Path, below: str) -> Iterator[Finding]:
    """A finding for each checkpoint, and one for all of the wide zoo that are not there."""
    missing = 0
    for entry in lock.models:
        if entry.checkpoint is None:
            continue
        artefact = find_artefact(lock, entry.checkpoint)
        there = (root / artefact.path).is_file()
        if not there and artefact.group == "zoo":
            missing += 1
            continue
        found = "there" if there else "not there"
        fix = f"harness download --only {artefact.group} --model {entry.name}{below}"
        yield _finding(f"checkpoint {entry.name}", found, there, fix, worst="warn")
    yield Finding(
        subject="other checkpoints",
        found=f"{missing} of Detectron2's zoo are not there; a command that needs one says how to "
        "fetch it",
        status="ok",
    )


def _finding(
    subject: str, found: str, ok: bool, fix: str, worst: Literal["warn", "fail"] = "fail"
) -> Finding:
    return Finding(
        subject=subject, found=found, status="ok" if ok else worst, fix="" if ok else fix
    )
