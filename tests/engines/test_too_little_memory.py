"""Whatever engine computes, images that do not fit into memory are one clear error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.core.detections import Image
from harness.core.engine import Engine, EngineInfo, EngineName
from harness.core.errors import RunFailedError
from harness.core.requests.inference import EngineOptions
from harness.engines.detectron2 import Detectron2Engine
from harness.engines.opening import open_engine
from harness.engines.torchvision import TorchvisionEngine
from harness.measure.timing import NULL_STOPWATCH
from harness.zoo.architectures import architecture_of, tiny

#: A text for each library that computes.
CUDA = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB"
CUBLAS = "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`\nmore"
ARENA = "BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 9"

NETWORKS = {"detectron2": tiny(), "torchvision": architecture_of("fasterrcnn_resnet50_fpn")}


def info_of(name: EngineName) -> EngineInfo:
    return EngineInfo(
        name=name,
        version="1",
        device="cpu",
        device_class="NVIDIA T4",
        precision="fp32",
        threads=1,
        architecture=architecture_of("fasterrcnn_resnet50_fpn")
        if name == "torchvision"
        else tiny(),
    )


def failing(error: Exception) -> Any:
    """A network that has no memory."""

    def network(*_: object, **__: object) -> None:
        raise error

    return network


def detectron2_engine(error: Exception) -> Detectron2Engine:
    """One without Detectron2, which only resizes and builds the network."""
    engine = Detectron2Engine.__new__(Detectron2Engine)
    engine.model, engine.info, engine.device = (
        failing(error),
        info_of("detectron2"),
        torch.device("cpu"),
    )
    return engine


def torchvision_engine(error: Exception) -> TorchvisionEngine:
    return TorchvisionEngine(failing(error), info_of("torchvision"), torch.device("cpu"), (1,))


def require_clear(engine: Engine, prepared: list[Any], ids: str) -> None:
    with pytest.raises(RunFailedError, match=rf"^image {ids}: .* not fit into the memory of ") as e:
        engine.infer(prepared, NULL_STOPWATCH)
    assert "\n" not in e.value.message
    assert "lower --short-edge" in str(e.value.hint)
    assert ("--batch-size" in str(e.value.hint)) == (len(prepared) > 1)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError(CUDA), RuntimeError(CUBLAS)])
@pytest.mark.parametrize("count", [1, 2])
def test_detectron2_names_the_images(error: Exception, count: int) -> None:
    prepared = [{"image_id": number} for number in range(count)]
    require_clear(detectron2_engine(error), prepared, "0, 1" if count == 2 else "0")


@pytest.mark.parametrize("error", [torch.OutOfMemoryError(CUDA), RuntimeError(CUBLAS)])
@pytest.mark.parametrize("count", [1, 2])
def test_torchvision_names_the_images(error: Exception, count: int) -> None:
    engine = torchvision_engine(error)
    pixels = np.zeros((9, 9, 3), dtype=np.uint8)
    prepared = [
        engine.prepare(Image(image_id=one, pixels_bgr=pixels), NULL_STOPWATCH)
        for one in range(count)
    ]
    require_clear(engine, prepared, "0, 1" if count == 2 else "0")


def opened(name: EngineName, file: Path) -> Engine:
    options = EngineOptions(engine=name, device="cpu", threads=1)
    return open_engine(name, architecture=tiny(), weights=file, dataset=None, options=options)


def require_clear_file(engine: Engine) -> None:
    pixels = np.zeros((40, 50, 3), dtype=np.uint8)
    require_clear(
        engine, [engine.prepare(Image(image_id=7, pixels_bgr=pixels), NULL_STOPWATCH)], "7"
    )


@pytest.mark.parametrize("error", [torch.OutOfMemoryError(CUDA), RuntimeError(CUBLAS)])
def test_a_program_of_torch_names_the_image(
    exported_pt2: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    engine: Any = opened("pt2", exported_pt2)
    monkeypatch.setattr(engine.network, "program", failing(error))
    require_clear_file(engine)


def test_onnx_runtime_names_the_image(exported_tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states = pytest.importorskip("onnxruntime.capi.onnxruntime_pybind11_state")
    engine: Any = opened("onnx", exported_tiny)

    class Session:
        run = staticmethod(failing(states.RuntimeException(ARENA)))

    monkeypatch.setattr(engine.network, "session", Session())
    require_clear_file(engine)


@pytest.mark.parametrize("engine", [detectron2_engine, torchvision_engine])
def test_another_error_stays_what_it_is(engine: Any) -> None:
    fault = RuntimeError("CUDA error: an illegal memory access was encountered")
    opened = engine(fault)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        opened.infer([{"image_id": 1}] if engine is detectron2_engine else [], NULL_STOPWATCH)
