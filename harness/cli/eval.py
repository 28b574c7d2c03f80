"""``harness eval``."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import TYPE_CHECKING

from harness.cli import console
from harness.cli.options import add_output_settings, settings_from
from harness.cli.records import print_result, require_trackers, track
from harness.core.errors import UsageError
from harness.core.requests.inference import ShareRequest
from harness.core.requests.queries import RecordOptions
from harness.core.requests.reports import TrackOptions

if TYPE_CHECKING:
    from harness.workflows.evaluation.share import ShareResult


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of EvalRequest, and which part of it is inferred alone."""
    add_output_settings(parser, ShareRequest, RecordOptions, TrackOptions)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate, print the table and the verdict; return the exit code."""
    from harness import api

    settings = settings_from(ShareRequest, arguments)
    command = ("harness", *sys.argv[1:])
    if (share := settings.pop("share")) is not None:
        _require_typed(command)
        _require_alone(settings, arguments)
        found = api.evaluate_share(
            share, **settings, progress=console.progress_of(arguments), command=command
        )
        _print_share(found, arguments, command)
        return 0
    require_trackers(arguments)
    result = api.evaluate(**settings, progress=console.progress_of(arguments), command=command)
    track(arguments, result.folder)
    return print_result(result, arguments)


def _require_typed(command: tuple[str, ...]) -> None:
    """Check that the share is of the command line: a file is of all parts, and of their scoring.

    Raises:
        UsageError: It is of a configuration file.
    """
    if not any(word == "--share" or word.startswith("--share=") for word in command):
        raise UsageError(
            "share is set in the configuration file, and every part has its own",
            hint="take it out of the file, and type --share K/N with each command",
        )


def _require_alone(settings: dict[str, object], arguments: argparse.Namespace) -> None:
    """Take out of the settings what a part of a run has not.

    Raises:
        UsageError: It was asked for.
    """
    for name, meaning in (
        ("workers", "start more parts instead"),
        ("resume", "a part that was interrupted continues by the same command"),
    ):
        if settings.pop(name):
            raise UsageError(f"--share and --{name} exclude each other", hint=meaning)
    if arguments.track:
        raise UsageError(
            "--share and --track exclude each other",
            hint="a part has no numbers: give --track to the command that scores",
        )


def _print_share(
    found: ShareResult, arguments: argparse.Namespace, command: tuple[str, ...]
) -> None:
    if arguments.json:
        console.print_json(found)
        return
    console.print_parts(
        f"share {found.share}: {found.images} images inferred, {found.images_before} were there; "
        f"all parts lack {found.left}"
    )
    console.print_parts(f"when all parts are done, score them: {scoring(command)}")


def scoring(command: tuple[str, ...]) -> str:
    """Return the command that scores what the parts inferred.

    Args:
        command: Command of one part.
    """
    words = list(command)
    for index, word in enumerate(words):
        if word == "--share":
            words[index : index + 2] = ["--resume"]
        elif word.startswith("--share="):
            words[index] = "--resume"
    return shlex.join(words)
