"""The engine that runs an exported file with ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
import torch

from harness.core.architecture import Architecture
from harness.core.engine import Engine, Precision
from harness.core.errors import IntegrityError, PrerequisiteError
from harness.engines.devices import find_device, notes_on
from harness.engines.exported import ExportedNetwork, engine_of, info_of_file, require_fp32
from harness.files.extras import install_command

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

GPU_PROVIDER, CPU_PROVIDER = "CUDAExecutionProvider", "CPUExecutionProvider"

#: ONNX Runtime's own word for errors and worse; its warnings are about its own optimiser.
ERRORS_ONLY = 3


def open_onnx(
    *,
    architecture: Architecture,
    weights: Path,
    device: str = "auto",
    precision: Precision = "fp32",
    threads: int | None = None,
) -> Engine:
    """Return the engine of an exported file, ready for inference.

    Args:
        architecture: What the file has to contain.
        weights: The exported file.
        device: As in `find_onnx_device`.
        precision: fp32; nothing else is exported.
        threads: CPU threads; None for ``devices.usable_threads``.

    Raises:
        PrerequisiteError: onnxruntime is missing, or cannot use the device.
        UsageError: Another precision.
        IntegrityError: The file is damaged, or of another network.
    """
    require_onnx_settings(device, precision)
    import onnxruntime

    place = find_onnx_device(device)
    version = onnxruntime.__version__
    info = info_of_file(
        weights, architecture, name="onnx", version=version, place=place, threads=threads
    )
    notes = notes_on(device) if _sees_gpus() else ()
    session = open_session(weights, place, threads=info.threads)
    return engine_of(SessionNetwork(session), info, notes)


def require_onnx_settings(device: str, precision: Precision) -> None:
    """Check that onnxruntime is installed and computes in this precision on this device.

    Raises:
        PrerequisiteError: It is missing, or cannot use the device.
        UsageError: It does not compute in this precision.
    """
    try:
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise PrerequisiteError(
            f"the onnx engine needs the onnxruntime package ({error})",
            hint=f"run: {install_command('onnx')}; for a GPU: pip install onnxruntime-gpu",
        ) from None
    place = find_onnx_device(device)
    if place.type == "cuda" and not _sees_gpus():
        raise PrerequisiteError(
            f"this onnxruntime has no {GPU_PROVIDER}, which {place} needs",
            hint="run: pip uninstall onnxruntime && pip install onnxruntime-gpu, "
            "or choose --device cpu",
        )
    require_fp32(precision)


def find_onnx_device(name: str) -> torch.device:
    """Return the torch device of a name; ``auto`` is the CPU where onnxruntime cannot use a GPU."""
    return find_device("cpu" if name == "auto" and not _sees_gpus() else name)


def _sees_gpus() -> bool:
    """Whether this onnxruntime was built for GPUs."""
    import onnxruntime

    return GPU_PROVIDER in onnxruntime.get_available_providers()


def open_session(model: Path | bytes, place: torch.device, *, threads: int) -> InferenceSession:
    """Return ONNX Runtime's session of a file, or of its bytes, in true fp32.

    Raises:
        IntegrityError: It cannot be opened.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = ERRORS_ONLY
    providers: list[Any] = [CPU_PROVIDER]
    if place.type == "cuda":
        settings = {"device_id": str(place.index or 0), "use_tf32": "0"}  # it is on by default
        providers.insert(0, (GPU_PROVIDER, settings))
    source = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(source, options, providers=providers)
    except Exception as error:  # onnxruntime's own exceptions derive from nothing narrower
        named = "the graph" if isinstance(model, bytes) else str(model)
        raise IntegrityError(
            f"onnxruntime {onnxruntime.__version__} cannot open {named}: {error}",
            hint="a newer onnxruntime may know its operators; else export it again",
        ) from error


class SessionNetwork(ExportedNetwork):
    """A session in the place of the network."""

    def __init__(self, session: InferenceSession) -> None:
        self.session = session
        self.inputs = [one.name for one in session.get_inputs()]
        self.names = [output.name for output in session.get_outputs()]

    def values(self, *given: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """Return every output of the file by name, for what goes into it in order."""
        answer = self.session.run(None, dict(zip(self.inputs, given, strict=True)))
        return dict(zip(self.names, answer, strict=True))
