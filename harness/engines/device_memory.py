"""The one error for images that do not fit into the memory of a device, whatever the engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from harness.core.engine import EngineInfo
from harness.core.errors import RunFailedError
from harness.core.printable import counted
from harness.files.failures import lacks_gpu_memory


def not_fitting(
    image_ids: Sequence[int], size_px: tuple[int, int] | None, info: EngineInfo
) -> RunFailedError:
    """Return the error for images that one computation has no memory for.

    Args:
        image_ids: The images.
        size_px: (height, width) of the one image as the network sees it; None where that is not
            known, or of several.
        info: The engine.
    """
    ids = ", ".join(map(str, image_ids))
    what = "it does" if len(image_ids) == 1 else f"{counted(len(image_ids), 'image')} at once do"
    if size_px is not None:
        height, width = size_px
        what = f"{width} × {height} px do"
    lower = ["lower --batch-size"] if len(image_ids) > 1 else []
    lower += ["lower --short-edge"]
    if info.precision in ("fp32", "tf32") and info.name == "native":
        lower += ["choose a smaller --precision"]
    return RunFailedError(
        f"image {ids}: {what} not fit into the memory of {info.device_class}",
        hint=f"{' or '.join(lower)}; other processes may hold the memory: nvidia-smi",
    )


@contextmanager
def fitting(image_ids: Sequence[int], info: EngineInfo) -> Iterator[None]:
    """Turn an error of memory in the block into one that says what to lower.

    Args:
        image_ids: The images that the block computes.
        info: The engine.

    Raises:
        RunFailedError: They did not fit into the memory of the device.
    """
    try:
        yield
    except Exception as error:
        if not lacks_gpu_memory(error):
            raise
        raise not_fitting(image_ids, None, info) from error
