"""``harness completion bash|zsh|fish``: a script that a shell reads at its start."""

from __future__ import annotations

import argparse

from harness.cli import console
from harness.cli.options import add_settings, request_from
from harness.core.requests.asking import CompletionRequest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the shell."""
    add_settings(parser, CompletionRequest)


def run(arguments: argparse.Namespace) -> int:
    """Print the script; return the exit code."""
    import shtab

    from harness.cli.main import build_parser

    request = request_from(CompletionRequest, arguments)
    console.answer(shtab.complete(build_parser(lambda _: True), request.shell))
    return 0
