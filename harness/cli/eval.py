"""``harness eval``."""

from __future__ import annotations

import argparse
import sys

from harness.cli import console
from harness.cli.options import add_output_settings, settings_from
from harness.cli.records import print_result, require_trackers, track
from harness.core.requests.asking import RecordOptions
from harness.core.requests.inference import EvalRequest
from harness.core.requests.reports import TrackOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of EvalRequest."""
    add_output_settings(parser, EvalRequest, RecordOptions, TrackOptions)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate, print the table and the verdict; return the exit code."""
    from harness import api

    require_trackers(arguments)
    result = api.evaluate(
        **settings_from(EvalRequest, arguments),
        progress=console.progress_of(arguments),
        command=("harness", *sys.argv[1:]),
    )
    track(arguments, result.folder)
    return print_result(result, arguments)
