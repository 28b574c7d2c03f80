"""Opens the engine a request names. The only place that knows which engines there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from harness.core.architecture import Architecture
from harness.core.dataset import Dataset
from harness.core.engine import (
    ENGINE_NAMES,
    EXPORT_FORMATS,
    Engine,
    EngineName,
    MemoryFormat,
    Precision,
)
from harness.core.errors import UsageError
from harness.core.requests.inference import EngineOptions
from harness.files.environment import NVIDIA_DEVICE, usable_cpus


def open_engine(
    name: EngineName,
    *,
    architecture: Architecture,
    weights: Path | None,
    dataset: Dataset | None,
    options: EngineOptions,
) -> Engine:
    """Return the engine called ``name``, with its weights loaded and its device ready.

    Args:
        name: Name of the engine; ``options.engine`` may leave it open.
        architecture: Architecture of the network.
        weights: A checkpoint, for the onnx and pt2 engines an exported file.
        dataset: The ground truth, which the fake engine returns as detections; it needs nothing
            else, and the others do without it.
        options: How it is to run.

    Raises:
        HarnessError: What ``require_network`` and ``require_settings`` raise.
    """
    require_network(name, architecture)
    require_settings(name, options)
    match name:
        case "native":
            from harness.engines.native import open_native

            return open_native(
                architecture=architecture,
                weights=_required(name, weights),
                device=options.device,
                precision=options.precision,
                memory_format=options.memory_format,
                compiled=options.compile,
                exact=options.exact,
                graphs=options.graphs,
                threads=options.threads,
            )
        case "detectron2" | "torchvision" | "onnx" | "pt2":
            return _opener(name)(
                architecture=architecture,
                weights=_required(name, weights),
                device=options.device,
                precision=options.precision,
                threads=options.threads,
            )
        case "fake":
            from harness.engines.fake import open_fake

            return open_fake(_truth(dataset), architecture)


def modules_of(name: EngineName, device: str) -> tuple[str, ...]:
    """Return the modules whose import takes most of the time until an engine is open.

    They open no device when they are imported, and start no thread. None of them fails where a
    package is missing that an engine can do without.

    Args:
        name: Name of the engine.
        device: As in ``find_device``; nothing is asked of it.
    """
    match name:
        case "fake":
            return ()
        case "onnx" | "pt2":
            return ("harness.engines.exported",)
        case "detectron2":
            return ("harness.engines.detectron2", "torchvision")
        case "native" if device.startswith("cuda") or (device == "auto" and NVIDIA_DEVICE.exists()):
            return ("harness.engines.native", "harness.nn.kernels.ahead")
        case "native" | "torchvision":
            return (f"harness.engines.{name}",)


def own_engine(architecture: Architecture) -> EngineName:
    """Return the engine that computes a network by default."""
    return "native" if architecture.torchvision is None else "torchvision"


def require_network(
    name: EngineName, architecture: Architecture, *, repair: str | None = None
) -> None:
    """Check that an engine knows a network; the fake one knows all.

    Args:
        name: The engine.
        architecture: The network.
        repair: What to do where the engine is not chosen by ``--engine``; None where it is.

    Raises:
        UsageError: It does not.
    """
    if name == "fake":
        return
    engines, kind = _engines_of(architecture)
    if name not in engines:
        raise UsageError(
            f"the {name} engine does not know this network: it is {kind}",
            hint=repair or f"leave out --engine, or choose --engine {own_engine(architecture)}",
        )


def _engines_of(architecture: Architecture) -> tuple[tuple[EngineName, ...], str]:
    """Return the real engines that compute a network, and what kind of network it is."""
    if architecture.torchvision is not None:
        return ("torchvision", *EXPORT_FORMATS), f"torchvision's {architecture.torchvision}"
    if architecture.backbone == "mobilenet_v2":  # Detectron2 has none
        return ("native", *EXPORT_FORMATS), f"one with the backbone {architecture.backbone}"
    return ("native", "detectron2", *EXPORT_FORMATS), "Detectron2's"


def _opener(name: Literal["detectron2", "torchvision", "onnx", "pt2"]) -> Callable[..., Engine]:
    """Return what opens an engine that has neither a memory format nor parts to compile."""
    if name == "detectron2":
        from harness.engines.detectron2 import open_detectron2

        return open_detectron2
    if name == "torchvision":
        from harness.engines.torchvision import open_torchvision

        return open_torchvision
    if name == "pt2":
        from harness.engines.pt2 import open_pt2

        return open_pt2
    from harness.engines.onnx import open_onnx

    return open_onnx


def require_settings(name: EngineName, options: EngineOptions) -> None:
    """Check the options of an engine as opening it would; nothing is opened.

    Only the native engine has a choice of memory format and arithmetic, and parts that can be
    compiled.

    Raises:
        UsageError: The engine cannot compute this way.
        PrerequisiteError: The device, or a package of the engine, is missing.
    """
    if name not in ENGINE_NAMES:
        raise UsageError(f"unknown engine {name!r}; choose one of {', '.join(ENGINE_NAMES)}")
    if name != "native" and options.compile:
        raise UsageError(
            f"the {name} engine is not compiled here",
            hint=_left_out("--compile", name),
        )
    if name != "native" and options.memory_format == "channels_last":
        raise UsageError(
            f"the {name} engine computes on contiguous feature maps, not on channels_last",
            hint=_left_out("--memory-format", name),
        )
    _require_exact(name, options)
    if name == "fake":
        return
    if name in EXPORT_FORMATS:
        require_file_settings(name, options.device, options.precision)
        return
    from harness.engines.devices import (
        find_device,
        require_compiler,
        require_precision,
        require_single_precision,
    )

    place = find_device(options.device)
    require_precision(options.precision, place)
    if options.compile:
        require_compiler(place)
    if name == "detectron2":
        from harness.engines.detectron2 import MODULES, require_detectron2

        require_detectron2(*MODULES)
    if name != "native":
        require_single_precision(name, options.precision)


def _left_out(option: str, name: EngineName) -> str:
    """What to do about an option of the native engine, which has no network of torchvision."""
    return f"leave out {option}" + ("" if name == "torchvision" else ", or choose --engine native")


def require_file_settings(name: EngineName, device: str, precision: Precision) -> None:
    """Check the settings of an engine of exported files.

    Raises:
        UsageError: It does not compute in this precision.
        PrerequisiteError: The device, or a package of the engine, is missing.
    """
    if name == "pt2":
        from harness.engines.pt2 import require_pt2_settings

        require_pt2_settings(device, precision)
        return
    from harness.engines.onnx import require_onnx_settings

    require_onnx_settings(device, precision)


def _require_exact(name: EngineName, options: EngineOptions) -> None:
    """Check that the options fit the reference's own arithmetic.

    Raises:
        UsageError: One does not.
    """
    if not options.exact:
        return
    if name != "native":
        raise UsageError(
            f"the {name} engine has no other arithmetic than its own",
            hint=_left_out("--exact", name),
        )
    wrong = {
        "--compile": options.compile,
        "--memory-format channels_last": options.memory_format == "channels_last",
        f"--precision {options.precision}": options.precision not in ("fp32", "tf32"),
    }
    for option in (option for option, given in wrong.items() if given):
        raise UsageError(
            f"--exact computes as Detectron2 does, which {option} does not",
            hint=f"leave out --exact, or {option}",
        )


def own_memory_format(name: EngineName, options: EngineOptions) -> MemoryFormat:
    """Return the memory format an engine computes in by default.

    Args:
        name: Name of the engine.
        options: Its device is ``auto``, or one that need not be on this machine.
    """
    if name != "native":
        return "contiguous"
    from harness.engines.devices import named_device
    from harness.engines.native import own_memory_format

    device = named_device(options.device)
    return own_memory_format(device, options.precision, exact=options.exact)


def loader_count(options: EngineOptions) -> int:
    """Return the threads that decode and resize ahead: few on a CPU, which the network needs."""
    if options.loaders is not None:
        return options.loaders
    if options.engine == "fake":
        return 2
    from harness.engines.devices import gpu_count

    on_gpu = options.device.startswith("cuda") or (options.device == "auto" and gpu_count() > 0)
    return max(2, min(16, usable_cpus())) if on_gpu else 2


def default_batch_sizes(name: EngineName, device: str) -> tuple[int, ...]:
    """Return batch sizes worth comparing: a CPU has few cores to fill, a GPU has many."""
    if name == "fake":
        return (1, 4)
    if name in EXPORT_FORMATS:
        return (1,)
    from harness.engines.devices import find_device

    return (1, 2, 4, 8, 16) if find_device(device).type == "cuda" else (1, 4)


def device_class_of(name: EngineName, device: str) -> str:
    """Return the device class of an engine on a device; nothing is opened."""
    if name == "fake":
        return "fake"
    from harness.engines.devices import device_class, find_device

    if name == "onnx":
        from harness.engines.onnx import find_onnx_device

        return device_class(find_onnx_device(device))
    return device_class(find_device(device))


def worker_devices(name: EngineName, device: str, workers: int) -> list[str]:
    """Return the device of each of several engines that run at once.

    Under ``auto`` each has a GPU of its own. A named device is shared by all; so is the CPU.

    Raises:
        UsageError: There are more engines than GPUs, or the GPUs are of several kinds.
    """
    if device != "auto" or name == "fake":
        return [device] * workers
    from harness.engines.devices import gpu_count

    gpus = gpu_count()
    if name == "onnx":
        from harness.engines.onnx import find_onnx_device

        gpus = gpus if find_onnx_device(device).type == "cuda" else 0
    if gpus == 0:
        return ["cpu"] * workers
    if workers > gpus:
        raise UsageError(
            f"{workers} workers need a GPU each, and {gpus} can be seen here",
            hint=f"choose at most {gpus}, or share one: --device cuda:0",
        )
    devices = [f"cuda:{index}" for index in range(workers)]
    if workers > 1:
        _require_one_kind(devices)
    return devices


def _require_one_kind(devices: Sequence[str]) -> None:
    """Check that GPUs which share a run are equal: others differ in the last digits.

    Raises:
        UsageError: They are not.
    """
    from harness.engines.devices import VISIBLE, device_class, find_device

    kinds = {one: device_class(find_device(one)) for one in devices}
    if len(set(kinds.values())) > 1:
        found = ", ".join(f"{one} is {kind}" for one, kind in kinds.items())
        raise UsageError(
            f"workers of one run need GPUs of one kind, whose numbers are equal: {found}",
            hint=f"name those of one kind with the variable {VISIBLE}, or choose fewer workers, or "
            "share one GPU: --device cuda:0",
        )


def _required(name: str, weights: Path | None) -> Path:
    if weights is None:
        raise UsageError(
            f"the {name} engine needs weights", hint="give a checkpoint file with --weights"
        )
    return weights


def _truth(dataset: Dataset | None) -> Dataset:
    if dataset is None:
        raise UsageError("the fake engine returns the ground truth, and there is none")
    return dataset
