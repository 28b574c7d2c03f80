"""``harness completion bash|zsh|fish``: a script that a shell reads at its start."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.cli import console
from harness.cli.options import add_settings, request_from
from harness.core.requests.queries import CompletionRequest
from harness.core.settings import Setting

#: What shtab writes for bash, and the same with readline's own completion of file names, which
#: quotes them and enters folders.
SHTAB = "complete -o bashdefault -F"
WITH_FILES = "complete -o bashdefault -o default -F"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the shell."""
    add_settings(parser, CompletionRequest)


def run(arguments: argparse.Namespace) -> int:
    """Print the script; return the exit code."""
    from harness.cli.main import build_parser
    from harness.zoo.lock import read_lock

    request = request_from(CompletionRequest, arguments)
    models = [entry.name for entry in read_lock().models]
    console.print_parts(script(build_parser(lambda _: True), request.shell, models))
    return 0


def script(parser: argparse.ArgumentParser, shell: str, models: Sequence[str]) -> str:
    """Return the script that completes commands, options, their values, and files.

    Args:
        parser: With all commands. It parses nothing afterwards: some of its arguments get choices.
        shell: bash, zsh or fish.
        models: Names of model entries.
    """
    import shtab

    names: dict[str, None] = {}
    for one in _parsers(parser):
        names |= dict.fromkeys(_commands(one))
        settings: Sequence[Setting] = one.get_default("settings") or ()
        by_name = {setting.name: setting for setting in settings}
        for action in one._actions:
            values = models if action.dest == "model" else _values(by_name.get(action.dest))
            if values:
                action.choices = values
            elif shell != "bash" and _takes_files(by_name.get(action.dest)):
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    for action in _commands(parser)["help"]._actions:
        if action.dest == "words":
            action.choices = list(names)
    return str(shtab.complete(parser, shell)).replace(SHTAB, WITH_FILES)


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield a parser and those of its commands, down to the last."""
    yield parser
    for one in _commands(parser).values():
        yield from _parsers(one)


def _commands(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Return the parsers of the commands of a parser, by name."""
    found = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    return {name: command for action in found for name, command in action.choices.items()}


def _values(one: Setting | None) -> list[str]:
    """Return the words that a setting takes, of a list each; none where others are allowed, too."""
    if one is None:
        return []
    return [str(value) for value in one.words or one.choices or ()]


def _takes_files(one: Setting | None) -> bool:
    """Whether the value of a setting is, or may be, the name of a file or folder."""
    return one is not None and (one.item is Path or one.files)
