"""What a user asks for when a service is to answer, typed as in ``core.requests``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.core.engine import EngineName, MemoryFormat, Precision
from harness.core.requests.inference import EMBEDDED_MODEL


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeRequest:
    """A service that infers what it is sent.

    model, weights, root, engine, device, precision, memory_format, compile, threads: as of an
    inference. annotations: COCO annotation file whose categories the weights know; None for the
    model's own.
    host, port: where it listens; port 0 takes a free one. max_upload_mb: of one request, in 10^6
    bytes. max_megapixels: of one image, before and after scaling. queue: images that may be read,
    waiting and computed at once; more are told to come again. quiet: no line for each request.
    """

    model: str = EMBEDDED_MODEL
    weights: Path | None = None
    annotations: Path | None = None
    root: Path = Path("datasets")
    engine: EngineName | None = None
    device: str = "auto"
    precision: Precision = "fp32"
    memory_format: MemoryFormat | None = None
    compile: bool = False
    threads: int | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    max_upload_mb: float = 20.0
    max_megapixels: float = 50.0
    queue: int = 16
    quiet: bool = False
