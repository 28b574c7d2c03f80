"""Where kernels cannot be used, the eager path computes, and the record and the terminal say so.

The card is pretended: the network stays on the CPU, and only what decides on the path sees a GPU.
"""

from __future__ import annotations

import json
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from harness import load_model
from harness.cli.main import run
from harness.engines import devices, native, slot_path
from harness.engines.native import open_native
from harness.engines.slot_path import SlotPath
from harness.measure.timing import NULL_STOPWATCH
from harness.nn.convolution import Conv, Deconv, GpuPasses
from harness.zoo.architectures import tiny
from tests.conftest import Seeded
from tests.engines.pretend_gpu import Gpu
from tests.engines.pretend_gpu import gpu as gpu
from tests.golden.cases import pictures
from tests.nn.plain_operators import PlainOperators

CARD = torch.device("cuda", 0)
PTXAS = "ptxas does not know sm_120"


class Opened:
    """Engines that were opened, and what the path without waits was asked."""

    def __init__(self) -> None:
        self.networks: list[Any] = []
        self.paths: list[SlotPath | None] = []

    def passes(self) -> list[GpuPasses | None]:
        return [
            one.gpu_passes
            for network in self.networks
            for one in network.modules()
            if isinstance(one, (Conv, Deconv))
        ]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    """The path is decided as on a card of Hopper's kind."""
    found, plain, zeros = Opened(), slot_path.open_slot_path, torch.zeros

    def open_on_card(network: Any, info: Any, _: torch.device, **settings: Any) -> SlotPath | None:
        def on_cpu(*sizes: Any, device: Any = None, **options: Any) -> Tensor:
            return zeros(*sizes, **options)

        with monkeypatch.context() as pretended:
            pretended.setattr(torch, "zeros", on_cpu)
            path = plain(network, info, CARD, **settings)
        found.networks.append(network)
        found.paths.append(path)
        return path

    monkeypatch.setattr(native, "open_slot_path", open_on_card)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    return found


def no_compiler() -> Exception:
    """What Triton raises for a kernel that it cannot translate; without it the test is skipped."""
    pytest.importorskip("triton", reason="Triton is not installed: pip install triton")
    from triton.compiler.errors import CompilationError

    error: Exception = CompilationError("def kernel():", None, PTXAS)
    return error


def evaluated(root: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[Any, str]:
    """The record of an evaluation of a few images by a process as users start it, and stderr."""
    capsys.readouterr()
    options = ["--root", str(root), "--output", "run", "--limit", "2", "--loaders", "1", *words]
    assert run(["eval", "--device", "cpu", "--no-report", *options]) == 0
    return json.loads(Path("run/record.json").read_bytes()), capsys.readouterr().err


def require_eager(opened: Opened, record: Any, said: str, sentence: str) -> None:
    assert opened.paths == [None]
    assert set(opened.passes()) == {None}
    assert [one for one in record["notes"] if one.startswith(sentence)]
    assert f"note: {sentence}" in said
    lines = Path("run/predictions.json").read_text(encoding="utf-8")
    assert len(json.loads(lines)) > 0


def test_triton_that_cannot_compile_leaves_the_eager_path_and_a_line(
    opened: Opened,
    project: Path,
    embedded_root: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = no_compiler()
    from harness.nn.kernels import epilogue

    def fail(*_: object) -> Tensor:
        raise error

    monkeypatch.setattr(epilogue, "finish", fail)
    record, said = evaluated(embedded_root, capsys)
    sentence = f"Triton cannot be used here, the eager path computes: {PTXAS}"
    require_eager(opened, record, said, sentence)


def test_a_card_without_bf16_leaves_the_eager_path_and_a_line(
    opened: Opened,
    project: Path,
    embedded_root: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    record, said = evaluated(embedded_root, capsys, "--precision", "bf16")
    sentence = (
        "precision bf16 needs a GPU of compute capability 8.0, Tesla T4 has 7.5: torch emulates "
        "it, and the eager path computes"
    )
    require_eager(opened, record, said, sentence)
    assert record["engine"]["precision"] == "bf16"


def test_a_benchmark_has_the_line_as_well(
    opened: Opened,
    project: Path,
    embedded_root: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    capsys.readouterr()
    options = ["--limit", "1", "--warmup", "1", "--repeats", "1", "--min-duration", "0"]
    options += ["--root", str(embedded_root), "--output", "run", "--device", "cpu"]
    assert run(["bench", "--precision", "bf16", *options]) == 0
    (note,) = json.loads(Path("run/record.json").read_bytes())["notes"]
    assert note.endswith("torch emulates it, and the eager path computes")
    assert f"note: {note}" in capsys.readouterr().err


def test_a_kernel_that_cannot_be_compiled_later_costs_no_image(seeded: Seeded, gpu: Gpu) -> None:
    """The kernel that is tried first may be compiled where a larger one is not."""
    error = no_compiler()
    network = open_native(architecture=tiny(), weights=seeded(tiny()), device="cpu", threads=1)
    given = [network.prepare(one, NULL_STOPWATCH) for one in pictures()]
    expected = network.infer(given, NULL_STOPWATCH)
    engine = open_native(architecture=tiny(), weights=seeded(tiny()), device="cpu", threads=1)
    slots = SlotPath(
        engine.network, PlainOperators(), engine.device, graphs=True, notice=engine.notes.append
    )
    engine.slots = slots
    for one in engine.network.modules():
        if isinstance(one, (Conv, Deconv)):
            one.gpu_passes = GpuPasses(finish, in_one_call=False, by_product=False)
    begun = engine.begin(given[:1])

    def fail(*_: object) -> Tensor:
        raise error

    slots._graphs._function = fail  # type: ignore[union-attr]
    found = engine.infer(given, NULL_STOPWATCH)
    assert [one.masks for one in found] == [one.masks for one in expected]
    assert len(engine.finish(begun)) == 1  # what was under way is finished where it was begun
    assert not engine.runs_ahead
    assert engine.notes == [f"Triton cannot be used here, the eager path computes: {PTXAS}"]
    assert engine.finish(engine.begin(given[:1]))[0].masks == expected[0].masks


def finish(out: Tensor, bias: Tensor | None, add: Tensor | None, relu: bool) -> Tensor:
    """What the kernel computes."""
    if bias is not None:
        out += bias[:, None, None]
    if add is not None:
        out += add
    return out.relu_() if relu else out


OLD = "The NVIDIA driver on your system is too old (found version 11040)."


@pytest.fixture
def old_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose driver is too old for this torch."""

    def warn() -> bool:
        warnings.warn(f"CUDA initialization: {OLD} Please update", UserWarning, stacklevel=2)
        return False

    def init() -> None:
        raise RuntimeError(f"{OLD}\nPlease update your GPU driver")

    monkeypatch.setattr(devices, "NVIDIA_DEVICE", Path(__file__))
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", warn)
    monkeypatch.setattr(torch.cuda, "init", init)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


#: Commands that compute, on the device that they take by themselves.
COMPUTING = {
    "eval": ("--limit", "1", "--no-report"),
    "bench": ("--limit", "1", "--warmup", "1", "--repeats", "1", "--min-duration", "0"),
    "predict": ("--model", "tiny"),
    "train": ("--model", "tiny", "--iterations", "1", "--batch-size", "2", "--no-pictures"),
}


@pytest.mark.parametrize("command", COMPUTING)
def test_a_driver_that_is_too_old_is_one_sentence_and_the_cpu(
    old_driver: None,
    project: Path,
    small_coco: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    annotations, images = str(small_coco / "annotations.json"), str(small_coco / "images")
    data = ["--annotations", annotations, "--images", images]
    if command == "predict":
        data = [images]
    if command == "train":
        data = [
            f"--{kind}-{word.strip('-')}" if word.startswith("--") else word
            for kind in ("train", "val")
            for word in data
        ]
    capsys.readouterr()
    options = [*COMPUTING[command], "--output", "run", "--short-edge", "64"]
    assert run([command, *data, *options]) == 0
    said = capsys.readouterr().err
    sentence = f"this machine has an NVIDIA GPU that torch cannot use: {OLD}; the CPU computes"
    assert said.count(f"note: {sentence}\n") == 1
    assert said.count("too old") == 1
    record = "predict.json" if command == "predict" else "record.json"
    assert sentence in json.loads(Path("run", record).read_bytes())["notes"]


def test_a_driver_that_is_too_old_is_an_error_where_a_gpu_is_asked_for(
    old_driver: None, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["eval", "--device", "cuda", "--output", "run"]) == 3
    said = capsys.readouterr().err
    assert f"error: this machine has an NVIDIA GPU that torch cannot use: {OLD}\n" in said
    assert "choose --device cpu" in said
    assert not Path("run").exists()


def test_a_program_that_loads_a_model_is_warned_once(old_driver: None, project: Path) -> None:
    with pytest.warns(UserWarning, match="torch cannot use") as caught, load_model("tiny") as model:
        assert model.info.engine.device == "cpu"
    assert len(caught) == 1


def test_a_service_says_it_when_it_starts(old_driver: None, project: Path) -> None:
    pytest.importorskip("fastapi", reason="needs the packages of the extra serve")
    from harness.core.requests.inference import ModelSpec
    from harness.core.requests.loading import ServeRequest
    from harness.serve.server import _opened, _warm_up, find_served

    said: list[str] = []
    request = ServeRequest(network=ModelSpec(model="tiny"))
    with closing(_opened(request, find_served(request), said.append)) as service:
        _warm_up(service, said.append)
    first, note = said
    assert first.startswith("first inference: ")
    assert note.startswith("note: this machine has an NVIDIA GPU that torch cannot use: ")
