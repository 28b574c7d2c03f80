"""``harness serve``."""

from __future__ import annotations

import argparse

from harness.cli import console
from harness.cli.options import add_settings, request_from
from harness.core.requests.loading import ServeRequest

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of ServeRequest."""
    add_settings(parser, ServeRequest)


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal; return 0 when all accepted requests were answered."""
    from harness.serve.server import serve

    request = request_from(ServeRequest, arguments)
    progress = console.progress_of(arguments)
    if request.host not in LOOPBACK:
        progress.notice(
            "note: there is no authentication; whoever reaches this address may use the"
        )

    def ready(what: str, url: str) -> None:
        console.print_parts(f"serving {what} at {url}")

    serve(request, ready=ready, notice=progress.notice)
    return 0
