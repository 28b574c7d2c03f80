"""``harness serve``."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.cli import console
from harness.cli.options import request_from
from harness.core.engine import ENGINE_NAMES, MEMORY_FORMATS, PRECISIONS
from harness.core.requests.inference import EMBEDDED_MODEL
from harness.core.requests.serving import ServeRequest

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ServeRequest."""
    what = parser.add_argument_group("what to serve")
    what.add_argument("--model", default=EMBEDDED_MODEL, help="model entry; see: harness models")
    what.add_argument("--weights", type=Path, help="checkpoint instead of the pinned one")
    what.add_argument(
        "--annotations", type=Path, help="COCO annotation file whose categories the weights know"
    )
    what.add_argument("--root", type=Path, help="where checkpoints lie (default: datasets)")
    how = parser.add_argument_group("how to run it")
    how.add_argument("--engine", choices=ENGINE_NAMES, help="default: the model's own")
    how.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    how.add_argument("--precision", choices=PRECISIONS, default="fp32")
    how.add_argument(
        "--memory-format", choices=MEMORY_FORMATS, help="of feature maps; default: the engine's own"
    )
    how.add_argument("--compile", action="store_true", help="by torch.compile, at the first image")
    how.add_argument("--threads", type=int, help="CPU threads of the network; default: all cores")
    where = parser.add_argument_group("the service")
    where.add_argument("--host", default="127.0.0.1", help="address to listen at")
    where.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    where.add_argument(
        "--max-upload-mb", type=float, default=20.0, metavar="MB", help="of one request, in 10^6 B"
    )
    where.add_argument(
        "--max-megapixels", type=float, default=50.0, metavar="MP", help="of one picture"
    )
    where.add_argument(
        "--queue",
        type=int,
        default=16,
        metavar="N",
        help="pictures inside at once; more wait outside",
    )
    where.add_argument("--quiet", action="store_true", help="no line for each request")


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop; 0 when everything inside was still answered."""
    from harness.files.layout import datasets_folder
    from harness.serve.server import serve

    request = request_from(ServeRequest, arguments, root=arguments.root or datasets_folder())
    progress = console.TerminalProgress()
    if request.host not in LOOPBACK:
        progress.notice(
            "note: whoever reaches this address may use the service; it asks nobody who"
        )

    def ready(what: str, url: str) -> None:
        console.answer(f"serving {what} at {url}")

    serve(request, ready=ready, notice=progress.notice)
    return 0
