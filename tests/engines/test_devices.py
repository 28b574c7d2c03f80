"""What a device's settings do, and what is said about a GPU that cannot be used."""

from __future__ import annotations

import importlib.util
import platform
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.core.errors import PrerequisiteError, UsageError
from harness.engines import devices, opening

FAULTS = """
import resource
import torch
from harness.engines.devices import keep_freed_memory

def faults():
    # Of four layers with two tensors of 40 MB each, after four that warmed up: with some
    # addresses two tensors fit beside each other only from the third layer on.
    for layer in range(8):
        if layer == 4:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.relu(torch.empty(10_000_000).fill_(1.0))
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

freed = faults()
keep_freed_memory(torch.device("cpu"))
print(freed, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_used_again() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], check=True, capture_output=True, text=True
    )
    freed, kept = map(int, done.stdout.split())
    assert kept < 0.01 * freed


#: A card without arithmetic in bf16, which is pretended to be there.
TURING = torch.device("cuda", 0)


@pytest.fixture
def turing(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Such a card, on which torch emulates bf16 as the CPU does."""
    plain = torch.ones

    def on_cpu(*sizes: Any, device: torch.device, **options: Any) -> torch.Tensor:
        assert device == TURING
        return plain(*sizes, **options)

    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    monkeypatch.setattr(torch, "ones", on_cpu)
    devices._refusal_of_bf16.cache_clear()
    yield monkeypatch
    devices._refusal_of_bf16.cache_clear()


@pytest.fixture
def unusable_gpu(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine with an NVIDIA GPU that torch does not see."""
    monkeypatch.setattr(devices, "NVIDIA_DEVICE", Path(__file__))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    return monkeypatch


def test_a_driver_that_is_too_old_is_named(unusable_gpu: pytest.MonkeyPatch) -> None:
    def init() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old (found 11040).\nUpdate it.")

    unusable_gpu.setattr(torch.version, "cuda", "13.0")
    unusable_gpu.setattr(torch.cuda, "init", init)
    with pytest.raises(
        PrerequisiteError, match=r"cannot use: The NVIDIA driver .* \(found 11040\)\."
    ):
        devices.find_device("cuda")
    assert devices.find_device("auto") == torch.device("cpu")


def test_a_torch_without_cuda_is_named(unusable_gpu: pytest.MonkeyPatch) -> None:
    unusable_gpu.setattr(torch.version, "cuda", None)
    with pytest.raises(PrerequisiteError, match="was built without CUDA"):
        devices.find_device("cuda:0")


def test_without_a_gpu_there_is_nothing_to_say(
    unusable_gpu: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    unusable_gpu.setattr(devices, "NVIDIA_DEVICE", tmp_path / "nvidiactl")
    assert devices.why_no_gpu() is None
    with pytest.raises(PrerequisiteError, match="torch sees 0 CUDA"):
        devices.find_device("cuda")


def test_bf16_needs_a_card_that_has_it(turing: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> torch.Tensor:
        raise RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED\nmore of it")

    turing.setattr(torch, "ones", refuse)
    with pytest.raises(UsageError, match=r"capability 8\.0, Tesla T4 has 7\.5") as caught:
        devices.require_precision("bf16", TURING)
    assert "compute in it there: cuDNN error: CUDNN_STATUS_NOT_SUPPORTED\n" in str(caught.value)
    assert caught.value.hint == "choose --precision fp16"
    devices.require_precision("fp16", TURING)
    turing.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    devices.require_precision("bf16", TURING)
    assert devices.emulation("bf16", TURING) is None


def test_bf16_that_torch_emulates_is_let_through_and_said(turing: pytest.MonkeyPatch) -> None:
    devices.require_precision("bf16", TURING)
    assert devices.emulation("bf16", TURING) == (
        "precision bf16 needs a GPU of compute capability 8.0, Tesla T4 has 7.5: torch emulates it"
    )
    assert devices.emulation("fp16", TURING) is None
    assert devices.emulation("bf16", torch.device("cpu")) is None


def test_bf16_that_comes_out_wrong_is_refused(turing: pytest.MonkeyPatch) -> None:
    plain = torch.ones
    turing.setattr(torch, "ones", lambda *sizes, **options: 2 * plain(*sizes, **options))
    with pytest.raises(UsageError, match="the result is wrong"):
        devices.require_precision("bf16", TURING)


def test_memory_that_is_lacking_refuses_no_precision(turing: pytest.MonkeyPatch) -> None:
    def lack(*_: object, **__: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    turing.setattr(torch, "ones", lack)
    devices.require_precision("bf16", TURING)


def test_the_sentence_on_a_gpu_that_is_not_used_is_one_line_for_every_engine(
    unusable_gpu: pytest.MonkeyPatch,
) -> None:
    def warn() -> bool:
        warnings.warn("CUDA initialization: The NVIDIA driver on your system is …", stacklevel=2)
        return False

    def init() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old (found 11040).\nUpdate it.")

    unusable_gpu.setattr(torch.version, "cuda", "13.0")
    unusable_gpu.setattr(torch.cuda, "is_available", warn)  # a warning is an error in tests
    unusable_gpu.setattr(torch.cuda, "init", init)
    unusable_gpu.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert devices.notes_on("auto") == [
        "this machine has an NVIDIA GPU that torch cannot use: The NVIDIA driver on your system is "
        "too old (found 11040). (CUDA_VISIBLE_DEVICES is '7'); the CPU computes"
    ]
    assert devices.notes_on("cpu") == []
    assert devices.gpu_count() == 0


@pytest.mark.parametrize(
    ("limit", "processes", "count"),
    [
        (None, 1, 8),
        ("3", 1, 3),
        ("3,2", 1, 3),
        ("64", 1, 8),
        ("3", 4, 2),
        (None, 16, 1),
        ("0", 1, 8),
        ("", 1, 8),
        ("many", 1, 8),
        ("9" * 5000, 1, 8),
    ],
)
def test_threads_without_a_number_stay_below_the_limit_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, limit: str | None, processes: int, count: int
) -> None:
    monkeypatch.setattr(devices, "usable_cpus", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if limit is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert devices.usable_threads(processes) == count


class GpuThatBegins:
    """Stands for the part of ``torch.cuda`` that a GPU is started by."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.threads: list[threading.Thread] = []

    def synchronize(self, device: torch.device) -> None:
        assert device == torch.device("cuda:1")
        self.threads.append(threading.current_thread())
        self.begun.set()
        assert self.may_end.wait(20)
        if self.error is not None:
            raise self.error


def test_a_gpu_begins_beside_other_work_and_is_ready_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu, prepared = GpuThatBegins(), []
    monkeypatch.setattr(torch.cuda, "synchronize", gpu.synchronize)
    with devices.starting(torch.device("cuda:1"), lambda: prepared.append(1)):
        assert gpu.begun.wait(20)  # while the block goes on
        assert not prepared
        gpu.may_end.set()
    assert prepared == [1]
    assert gpu.threads != [threading.current_thread()]
    assert not gpu.threads[0].is_alive()


def test_an_error_of_a_gpu_that_begins_is_left_to_its_first_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu = GpuThatBegins(RuntimeError("CUDA error: out of memory"))
    monkeypatch.setattr(torch.cuda, "synchronize", gpu.synchronize)
    gpu.may_end.set()
    with (
        pytest.raises(UsageError, match="of the block"),
        devices.starting(torch.device("cuda:1"), lambda: pytest.fail("it is not there")),
    ):
        raise UsageError("of the block")
    assert not gpu.threads[0].is_alive()


def test_on_a_cpu_no_gpu_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: pytest.fail("it was used"))
    before = threading.enumerate()
    with devices.starting(torch.device("cpu"), lambda: pytest.fail("it was prepared")):
        assert threading.enumerate() == before


@pytest.mark.parametrize(
    ("device", "driver", "expected"),
    [("cpu", True, False), ("auto", False, False), ("auto", True, True), ("cuda:1", False, True)],
)
def test_processes_import_the_kernels_ahead_where_they_compute_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, device: str, driver: bool, expected: bool
) -> None:
    monkeypatch.setattr(opening, "NVIDIA_DEVICE", tmp_path if driver else tmp_path / "nvidiactl")
    found = opening.modules_of("native", device)
    assert ("harness.nn.kernels.ahead" in found) == expected
    assert found[0] == "harness.engines.native"


#: What is decided before processes are started, on a machine whose driver torch can ask for names
#: alone; whatever else makes a context, which no process may have that is copied.
DECIDED = """
import torch
def opened(*_, **__):
    raise AssertionError("a GPU was opened before processes were started")
torch.cuda.is_available = lambda: True
torch.cuda.device_count = lambda: 2
torch.cuda.get_device_name = lambda *_: "a GPU"
torch.cuda.get_device_capability = lambda *_: (9, 0)
torch.cuda.init = torch.cuda._lazy_init = torch._C._cuda_init = opened
torch.cuda.synchronize = torch.cuda.current_stream = torch.Tensor.cuda = opened

from harness.core.requests.inference import EngineOptions
from harness.engines import opening
options = EngineOptions(device="cuda", precision="bf16")
opening.require_settings("native", options)
assert opening.default_batch_sizes("native", "cuda") == (1, 2, 4, 8, 16)
assert opening.own_memory_format("native", options) == "channels_last"
assert opening.loader_count(options) >= 2
assert opening.device_class_of("native", "cuda") == "a GPU"
assert opening.worker_devices("native", "auto", 2) == ["cuda:0", "cuda:1"]
for module in opening.modules_of("native", "cuda"):
    __import__(module)
print(torch.cuda.is_initialized())
"""


def test_nothing_that_is_decided_before_processes_start_opens_a_gpu() -> None:
    done = subprocess.run([sys.executable, "-c", DECIDED], capture_output=True, text=True)
    assert done.stdout.split() == ["False"], done.stderr


@pytest.mark.parametrize(
    "word",
    ["gpu", "", "CUDA", "cuda:", "cuda:-1", "cuda:\u00b2", "cuda:\u0663", "cuda:" + "9" * 5000],
)
def test_a_word_that_is_no_device_is_refused(word: str) -> None:
    with pytest.raises(
        UsageError, match=r"unknown device .{0,120}; choose auto, cpu, cuda or cuda:N"
    ):
        devices.find_device(word)


def test_workers_need_gpus_of_one_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = ["NVIDIA H100", "NVIDIA H100", "Tesla T4"]
    monkeypatch.setattr(devices, "gpu_count", lambda: len(kinds))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda one: kinds[one.index])
    assert opening.worker_devices("native", "auto", 2) == ["cuda:0", "cuda:1"]
    with pytest.raises(UsageError, match=r"one kind.*cuda:1 is NVIDIA H100, cuda:2 is Tesla T4"):
        opening.worker_devices("native", "auto", 3)
    assert opening.worker_devices("native", "cuda:2", 3) == ["cuda:2"] * 3


IMPORTED = """
import gc
searched = []
gc.callbacks.append(lambda phase, facts: searched.append(facts["generation"]))
import harness.engines.devices
print(gc.isenabled(), 2 in searched)
"""


def test_torch_is_imported_without_a_search_for_cycles_among_all_objects() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True)
    assert done.stdout.split() == ["True", "False"], done.stderr


AHEAD = """
import sys
if sys.argv[1:]:
    sys.modules["triton"] = None  # as if it were not installed
import harness.nn.kernels.ahead
print("harness.nn.kernels.operators" in sys.modules)
"""


@pytest.mark.parametrize("lacking", [False, True])
def test_kernels_are_imported_ahead_where_triton_is_installed(lacking: bool) -> None:
    given = ["lacking"] if lacking else []
    done = subprocess.run([sys.executable, "-c", AHEAD, *given], capture_output=True, text=True)
    installed = importlib.util.find_spec("triton") is not None
    assert done.stdout.split() == [str(installed and not lacking)], done.stderr
