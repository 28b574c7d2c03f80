"""What a user asks for when a service is to answer, typed as in ``core.requests``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.core.requests.inference import EngineOptions, ModelSpec
from harness.core.settings import part, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeRequest:
    """A service that infers what it is sent."""

    group: ClassVar[str] = "the service"

    network: ModelSpec = part(ModelSpec, group="what to serve")
    annotations: Path | None = setting(
        None,
        help="COCO annotation file whose categories the weights know",
        none="the model's own",
        group="what to serve",
    )
    images: Path | None = setting(
        None,
        help="folder of images to try the model on; with --annotations those that have objects",
        none="the model's own data set",
        group="what to serve",
    )
    options: EngineOptions = part(EngineOptions, without=("batch_size", "loaders"))
    host: str = setting("127.0.0.1", help="address to listen at")
    port: int = setting(
        8000, help="port to listen at; 0 takes a free one", minimum=0, maximum=65535
    )
    allow_host: tuple[str, ...] = setting(
        (),
        help="names that addresses may have beside localhost and --host; * for any",
        none="none",
        metavar="A,B",
    )
    allow_origin: tuple[str, ...] = setting(
        (),
        help="sites whose pages may send images, such as https://example.org; * for any",
        none="none",
        metavar="A,B",
    )
    max_upload_mb: float = setting(
        20.0, help="largest request", unit="10^6 bytes", metavar="MB", above=0
    )
    max_megapixels: float = setting(
        50.0,
        help="largest image, before and after scaling",
        unit="10^6 pixels",
        metavar="MP",
        above=0,
    )
    queue: int = setting(
        16, help="images inside at once; more are asked to come again", metavar="N", minimum=1
    )
    quiet: bool = setting(False, help="no line for each request")
