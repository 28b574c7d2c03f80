"""``harness profile``: a bench that also reports where the time goes."""

from __future__ import annotations

import argparse

from harness.cli.bench import print_bench
from harness.cli.options import add_output_settings, settings_from
from harness.core.requests.inference import ProfileRequest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of a bench."""
    add_output_settings(parser, ProfileRequest)


def run(arguments: argparse.Namespace) -> int:
    """Measure and profile, print both; return the exit code of the bench's verdict."""
    return print_bench({**settings_from(ProfileRequest, arguments), "profiling": True}, arguments)
