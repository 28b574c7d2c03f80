"""What every test may use, and the one thing no test may do: reach the network."""

from __future__ import annotations

import gc
import hashlib
import ipaddress
import json
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from tests.uncompiled import offer_deformable_convolutions

if TYPE_CHECKING:
    from harness.core.architecture import Architecture

# How long an example takes says nothing on a machine that is busy with other tests.
settings.register_profile("harness", deadline=None)
settings.load_profile("harness")

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"

# One compute thread a process: sums come out in the same order everywhere, and parallel test
# workers do not fight over the cores. Read by torch when it is imported, inherited by children.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Children find compiled modules, as a user's do, also where the environment asks for no byte code:
# without it every child compiles the whole package again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Without an NVIDIA device, Triton's interpreter runs the kernels. Read when Triton is imported, by
# whatever imports it first.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# Before any test imports Detectron2: once its layers are there, it is too late.
offer_deformable_convolutions()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs an exported file as slow: tracing and converting a network takes a minute."""
    for item in items:
        if {"exported_tiny", "exported_pt2"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


def name_group(item: pytest.Item) -> None:
    """Add the group of a test to its name, by which xdist keeps the group in one process.

    pytest-xdist 3.8 does so itself, but in an attribute that pytest 9.2 no longer reads: each
    process would start a SLURM cluster of its own. Older versions of pytest read it.
    """
    groups = sorted({str(mark.args[0]) for mark in item.iter_markers("xdist_group")})
    suffix = f"@{'_'.join(groups)}"
    if groups and not item.nodeid.endswith(suffix) and hasattr(item, "_id"):
        item._id = type(item._id).parse(f"{item.nodeid}{suffix}")


@pytest.hookimpl(tryfirst=True)  # before xdist sends the names of all tests
def pytest_collection_finish(session: pytest.Session) -> None:
    """Name groups; then leave what is there already out of each look for garbage.

    Looking through 3,000 tests and the modules again and again took a fifteenth of the processor
    time.
    """
    if getattr(session.config.option, "loadgroup", False):
        for item in session.items:
            name_group(item)
    gc.collect()
    gc.freeze()


class NetworkRefusedError(AssertionError):
    """A test tried to leave this machine."""


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> Iterator[None]:
    """Make SIGINT a KeyboardInterrupt here and in every child.

    A shell that is not interactive starts ``make test &`` with SIGINT ignored, and a child of a
    process that ignores a signal ignores it too.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", autouse=True)
def _loopback_only() -> Iterator[None]:
    """Refuse every connection and look-up that is not loopback, in this process and its children.

    Children are not patched; they meet a proxy on a port where nobody listens.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))
        patch.setattr(socket, "getaddrinfo", _guarded_lookup(socket.getaddrinfo))
        for name in ("http_proxy", "https_proxy"):
            patch.setenv(name, "http://127.0.0.1:9")
            patch.setenv(name.upper(), "http://127.0.0.1:9")
        for name in ("no_proxy", "NO_PROXY"):
            patch.setenv(name, "localhost,127.0.0.1,::1")
        yield


def _guarded(connect: Any) -> Any:
    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
            raise NetworkRefusedError(f"tests may not connect to {address!r}")
        return connect(self, address)

    return guarded


def _guarded_lookup(lookup: Any) -> Any:
    def guarded(host: Any, *arguments: Any, **options: Any) -> Any:
        if not _is_loopback(host):
            raise NetworkRefusedError(f"tests may not look up {host!r}")
        return lookup(host, *arguments, **options)

    return guarded


def _is_loopback(host: Any) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost", socket.gethostname()):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


@pytest.fixture
def no_byte_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children under a limit on file sizes write no compiled modules, which it would cut off."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real images, annotations and predictions kept beside the checkout; skips where absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the real test data in ../shared/data, beside the checkout")
    return SHARED_DATA


Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Fill a folder once for all test processes; who changes its files works on a copy."""
    from harness.files.locks import held

    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def filled(name: str, fill: Callable[[Path], object]) -> Path:
        folder = base / f"once-{name}"
        with held(base / f"once-{name}.lock", notice=lambda _: None):
            if not folder.exists():
                part = base / f"once-{name}.part"
                shutil.rmtree(part, ignore_errors=True)
                part.mkdir()
                fill(part)
                part.rename(folder)
        return folder

    return filled


Seeded = Callable[["Architecture"], Path]


@pytest.fixture(scope="session")
def seeded(once: Once) -> Seeded:
    """The file of a network's seeded checkpoint, written once for all test processes."""

    def file_of(architecture: Architecture) -> Path:
        def fill(folder: Path) -> None:
            from harness.zoo.seeded import seeded_checkpoint
            from harness.zoo.weights import write_checkpoint

            write_checkpoint(folder / "weights.safetensors", seeded_checkpoint(architecture))

        key = hashlib.sha256(repr(architecture).encode()).hexdigest()[:16]
        return once(f"seeded-{key}", fill) / "weights.safetensors"

    return file_of


@pytest.fixture(scope="session")
def embedded_root(once: Once) -> Path:
    """A folder of data sets with the embedded images in it."""

    def fill(folder: Path) -> None:
        from harness.data.catalog import find_dataset

        find_dataset(dataset="synthetic_val", annotations=None, images=None, root=folder)

    return once("embedded", fill)


@pytest.fixture(scope="session")
def embedded_folder(embedded_root: Path) -> Path:
    """The embedded data set: ``annotations.json`` and ``images/``."""
    from harness.data.synthetic import generate

    return generate("synthetic_val", embedded_root)


@pytest.fixture(scope="session")
def exported_tiny(once: Once, embedded_root: Path) -> Path:
    """The embedded model as an ONNX file."""
    pytest.importorskip("onnxscript", reason="needs the packages of the extra onnx")

    def fill(folder: Path) -> None:
        from harness.cli.main import run

        words = ["--root", str(embedded_root), "--output", str(folder / "tiny.onnx")]
        assert run(["export", *words, "--limit", "1", "--threads", "1"]) == 0

    return once("exported", fill) / "tiny.onnx"


@pytest.fixture(scope="session")
def exported_pt2(once: Once, embedded_root: Path) -> Path:
    """The embedded model as a file of torch.export."""

    def fill(folder: Path) -> None:
        from harness.cli.main import run

        words = ["--root", str(embedded_root), "--output", str(folder / "tiny.pt2")]
        assert run(["export", *words, "--limit", "1", "--threads", "1"]) == 0

    return once("exported-pt2", fill) / "tiny.pt2"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: a checkout with the real lock and nothing else, whose default folders
    are not those of the real one.
    """
    from harness.files.layout import LOCK_NAME, find_lock

    folder = tmp_path / "a project"
    folder.mkdir()
    shutil.copy(find_lock(), folder / LOCK_NAME)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def odd_tmp_path(tmp_path: Path) -> Path:
    """An empty folder whose name has what breaks careless code: spaces, quotes, non-ASCII."""
    folder = tmp_path / 'it\'s an "odd" földer; $HOME & 100%'
    folder.mkdir()
    return folder


#: Image id, (height, width) and boxes (category, x, y, width, height) of the small data set. Ids
#: are neither dense nor sorted, and one image has no object.
SMALL_IMAGES: tuple[tuple[int, tuple[int, int], tuple[tuple[int, ...], ...]], ...] = (
    (42, (60, 80), ((3, 10, 10, 30, 20), (7, 45, 30, 30, 25))),
    (7, (80, 60), ((2, 5, 5, 40, 60),)),
    (300, (64, 64), ()),
    (12, (72, 96), ((19, 2, 4, 36, 30), (19, 50, 8, 40, 50), (5, 8, 40, 30, 28))),
    (9, (50, 50), ((11, 0, 0, 50, 50), (13, 20, 20, 12, 12))),
    (1001, (60, 90), ((17, 30, 12, 44, 40),)),
)
SMALL_CATEGORIES = (2, 3, 5, 7, 11, 13, 17, 19)


@pytest.fixture
def small_coco(tmp_path: Path) -> Path:
    """A folder with ``annotations.json`` and ``images/``: six small images in COCO's format.

    Eight categories, as the embedded model has; one annotation is a crowd.
    """
    return write_small_coco(tmp_path / "small")


def write_small_coco(folder: Path) -> Path:
    from PIL import Image

    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for image_id, (height, width), objects in SMALL_IMAGES:
        name = f"{image_id:012d}.png"
        picture = Image.linear_gradient("L").resize((width, height)).convert("RGB")
        for category, x, y, w, h in objects:
            colour = (category * 12 % 256, category * 50 % 256, category * 90 % 256)
            picture.paste(colour, (x, y, x + w, y + h))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": category,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                    "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
                }
            )
        picture.save(folder / "images" / name)
        images.append({"id": image_id, "file_name": name, "height": height, "width": width})
    crowd = {"size": [60, 80], "counts": [60 * 60, 60 * 10, 60 * 10]}
    annotations.append(
        {
            "id": len(annotations) + 1,
            "image_id": 42,
            "category_id": 3,
            "bbox": [60, 0, 10, 60],
            "area": 600,
            "iscrowd": 1,
            "segmentation": crowd,
        }
    )
    categories = [{"id": number, "name": f"kind {number}"} for number in SMALL_CATEGORIES]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content), encoding="utf-8")
    return folder
