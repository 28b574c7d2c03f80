"""Facts of the machine and the checkout, for records and for speeds that may be compared."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import resource
import shutil
import socket
import subprocess
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path

from harness import __version__
from harness.core.record import Environment

#: Packages whose version can move a number, besides this one.
PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "Pillow",
    "pycocotools",
    "faster-coco-eval",
    "detectron2",
    "onnx",
    "onnxruntime",
)

#: The releases of torch that harness is tested with, each with the torchvision that belongs to it;
#: another pair fails at import with "operator torchvision::nms does not exist".
TORCHVISION_OF = {"2.11": "0.26", "2.12": "0.27", "2.14": "0.29"}

#: There wherever an NVIDIA driver is loaded.
NVIDIA_DEVICE = Path("/dev/nvidiactl")


def read_environment() -> Environment:
    """The machine as it is now. What cannot be read is None or empty, never guessed."""
    drivers, gpus = _drivers_and_names()
    commit, dirty = _git_state(Path(__file__).resolve().parents[2])
    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        hostname=socket.gethostname(),
        cpu=cpu_name(),
        cpu_count=usable_cpus(),
        memory_bytes=memory_bytes(),
        packages={"harness": __version__, **_package_versions()},
        cuda=_torch_cuda(),
        driver=drivers[0] if drivers else None,
        gpus=gpus,
        git_commit=commit,
        git_dirty=dirty,
    )


def _package_versions() -> dict[str, str]:
    """Return the version of each of PACKAGES that is installed."""
    return {name: version for name in PACKAGES if (version := package_version(name))}


def peak_process_bytes() -> int:
    """The most memory this process ever held.

    Not ``ru_maxrss`` where it can be helped: Linux hands that of a parent down to its children.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        status = ""
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    peak_kib = int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_kib * 1024


def forget_peak_process_bytes() -> None:
    """Have ``peak_process_bytes`` begin with what is held now; only Linux can do that."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def memory_bytes() -> int:
    """The memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def free_memory_bytes() -> int:
    """The memory that programs could still be given; all of it where the system does not say."""
    try:
        status = Path("/proc/meminfo").read_text(encoding="utf-8")
    except OSError:
        return memory_bytes()
    found = re.search(r"^MemAvailable:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else memory_bytes()


@cache
def package_version(name: str) -> str | None:
    """The installed version of a distribution, None when it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def cpu_name() -> str:
    """The processor's product name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def usable_cpus() -> int:
    """Cores this process may run on: fewer than the machine has inside containers and jobs."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpu_drivers() -> list[str]:
    """The driver's version once for each NVIDIA GPU it sees; empty without one."""
    return _nvidia_smi("driver_version")


def _drivers_and_names() -> tuple[list[str], tuple[str, ...]]:
    """The driver's version and the name of each NVIDIA GPU; asked at once, which takes a while."""
    rows = [line.partition(", ") for line in _nvidia_smi("driver_version,name")]
    return [driver for driver, _, _ in rows], tuple(name for _, _, name in rows)


def gpu_clock_mhz() -> float | None:
    """The first GPU's current clock, None where it cannot be read."""
    clocks = _nvidia_smi("clocks.sm")
    digits = clocks[0].split()[0] if clocks else ""
    return float(digits) if digits.isdigit() else None


def _torch_cuda() -> str | None:
    """The CUDA version torch was built for, read without importing torch (1 s)."""
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return None
    try:
        text = Path(found.origin).with_name("version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    built = re.search(r"^cuda\b[^=]*= '([\d.]+)'", text, re.MULTILINE)
    return built[1] if built else None


def _nvidia_smi(fields: str) -> list[str]:
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
    return _output(command).splitlines()


def _git_state(folder: Path) -> tuple[str | None, bool | None]:
    """Commit of a checkout, and whether tracked files differ from it; None, None without one.

    Git would lock its index to refresh it, and the lock stays where the process is killed: every
    command of its owner would fail then.

    Args:
        folder: The root of the checkout.
    """
    if not (folder / ".git").exists() or shutil.which("git") is None:
        return None, None
    git = ["git", "--no-optional-locks", "-C", str(folder)]
    commit = _output([*git, "rev-parse", "HEAD"])
    changes = _output([*git, "status", "--porcelain", "-uno"])
    return (commit, bool(changes)) if commit else (None, None)


def _output(command: list[str]) -> str:
    """What a command prints, empty when it fails or takes longer than ten seconds."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
