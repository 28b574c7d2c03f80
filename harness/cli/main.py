"""The command line: finds the command, runs it, turns its end into an exit code.

Each command is a module with ``add_arguments(parser)`` and ``run(arguments) -> int``; it is
imported only when it is the one requested, so ``--help`` stays fast.
"""

from __future__ import annotations

import argparse
import difflib
import os
import platform
import re
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from harness import __version__
from harness.cli.options import complete
from harness.cli.usage import Usage
from harness.core.errors import HarnessError, PrerequisiteError, UsageError
from harness.core.printable import printable
from harness.files.failures import failure_of

#: Heading → command name → one line of help. The module of a command is ``harness.cli.<name>``.
GROUPS: dict[str, dict[str, str]] = {
    "numbers": {
        "eval": "measure AP of a model and check it against its references",
        "bench": "measure inference speed and check it against its references",
        "sweep": "speed, memory and AP over precisions, memory formats, compilation and batches",
        "profile": "measure inference speed, and where the time goes",
        "score": "score saved predictions again, on CPU",
        "analyze": "what errors cost in AP, by type; curves, thresholds, calibration, confusions",
        "report": "write the page of a run again",
        "diagnose": "why an AP is what it is: known faults undone and scored again",
        "compare": "what differs between two runs, and whether it is more than noise",
        "parity": "compare two engines stage by stage on the same images",
        "selftest": "check properties of harness itself on the embedded data set",
    },
    "models and data": {
        "download": "download and verify data sets and checkpoints",
        "models": "list the zoo: references, and what is on disk",
        "weights": "check, convert or generate checkpoints",
        "export": "write a model as an ONNX or .pt2 file, and verify it against the native engine",
        "doctor": "check this machine, with the fix for what is wrong",
    },
    "your own data": {
        "data": "annotations: convert, check, clean, split, merge, subset; fetch Open Images",
        "train": "retrain a model, or fine-tune it on your own data",
    },
    "images and service": {
        "predict": "detect and draw objects in images of your own",
        "show": "draw a data set, or a run beside the ground truth, the worst images first",
        "serve": "detect objects in images sent over HTTP, with a web page to try it",
    },
    "clusters and nights": {
        "submit": "run a command on a SLURM cluster",
        "status": "state and progress of every job of a submitted run",
        "logs": "print the last lines of a submitted run's logs, and where they are",
        "cancel": "stop the jobs of a submitted run; what is finished stays",
        "wait": "wait for a submitted run, then print its result and return its exit code",
        "nightly": "measure a matrix of models and engines, and compare with the nights before",
        "history": "trends over the nights, and where they drift",
    },
    "this program": {
        "help": "print the help of a command: harness help COMMAND",
        "completion": "print a script that completes command lines in bash, zsh or fish",
    },
}

#: Command name → one line of help.
COMMANDS = {name: text for group in GROUPS.values() for name, text in group.items()}

#: What was an option, and is something else: (command, option) → what to type.
MOVED = {
    ("bench", "--sweep"): "harness sweep",
    ("submit", "--profile"): "--cluster FILE",
}

#: What the namespaces call the second word of a command.
NESTED = ("kind", "action", "claim")

BUG_EXIT_CODE = 70
INTERRUPTED_EXIT_CODE = 130


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one message like all others; so are those of its sub-commands."""

    def error(self, message: str) -> NoReturn:
        """Turn an error of argparse into one of harness.

        Args:
            message: What is wrong.

        Raises:
            UsageError: Always; with the command that prints the help.
        """
        raise UsageError(f"{self.prog}: {message}", hint=f"see: {self.prog} --help")


class Overview(Parser):
    """The parser of the program, whose help lists the commands by what they are for."""

    def format_help(self) -> str:
        """Usage, then a section for each group of commands, then the options."""
        formatter = self._get_formatter()
        formatter.add_usage("harness command [options]", (), ())
        formatter.add_text(self.description)
        listed = [
            one
            for action in self._actions
            if isinstance(action, argparse._SubParsersAction)
            for one in action._choices_actions
        ]
        for heading, names in GROUPS.items():
            formatter.start_section(heading)
            formatter.add_arguments([one for one in listed if one.dest in names])
            formatter.end_section()
        formatter.start_section("options")
        formatter.add_arguments(self._optionals._group_actions)
        formatter.end_section()
        formatter.add_text("Each command has its own help: harness help eval")
        return formatter.format_help()


def run(argv: Sequence[str], *, begun: float | None = None) -> int:
    """Run a command line; return its exit code.

    Args:
        argv: Without the program's name.
        begun: When the program began, on the clock ``time.monotonic``; None for now.
    """
    begun = time.monotonic() if begun is None else begun
    try:
        _require_working_folder()
        arguments = _arguments(argv)
        arguments.begun = begun
        _require_supported_system()
        code: int = import_module(f"harness.cli.{arguments.command}").run(arguments)
        return code
    except HarnessError as error:
        if "--verbose" in argv:
            sys.stderr.write(printable(traceback.format_exc()))
        sys.stderr.write(printable(f"error: {error}\n"))
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED_EXIT_CODE
    except BrokenPipeError:
        # The reader of stdout went away (``harness models | head``): that is no error. What
        # is still buffered would fail once more when Python leaves.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        failure = failure_of(error) or _damaged_module(error)
        if failure is None or "--verbose" in argv:
            sys.stderr.write(printable(traceback.format_exc()))
        if failure is not None:
            sys.stderr.write(printable(f"error: {failure}\n"))
            return failure.exit_code
        sys.stderr.write("this is a bug in harness; please report it with the lines above\n")
        return BUG_EXIT_CODE


def _damaged_module(error: Exception) -> PrerequisiteError | None:
    """The error for a compiled module that a full disk has cut off; None for any other.

    Python before 3.12.8 writes what fits, and fails with it ever after.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        path = frame.f_locals.get("bytecode_path")
        if frame.f_code.co_name == "get_code" and isinstance(path, str):
            return PrerequisiteError(
                f"{path} is damaged: {error}",
                hint="the disk was full when Python compiled it; make room, then remove it and "
                f"the others: find {shlex.quote(str(Path(path).parents[1]))} -name '*.pyc' -delete",
            )
    return None


def _require_working_folder() -> None:
    """Check that the folder that relative paths begin in is there.

    Raises:
        UsageError: It was removed while a shell stood in it.
    """
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise UsageError(
            "the working folder does not exist any more", hint="change to one that does: cd"
        ) from error


def _require_supported_system() -> None:
    """Check the operating system.

    Raises:
        PrerequisiteError: It is Windows, whose files and processes work differently.
    """
    if platform.system() == "Windows":
        raise PrerequisiteError(
            "harness runs on Linux and macOS, this is Windows",
            hint="install the Windows Subsystem for Linux, and harness in it",
        )


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The parsed command line, complete with defaults and ``--config``.

    Raises:
        UsageError: A word is unknown; with the nearest known one.
    """
    argv = _without_help_command(argv)
    asked = _command(argv)
    if asked is not None and asked not in COMMANDS:
        raise UsageError(
            f"unknown command {asked!r}" + _meant(asked, COMMANDS), hint="see: harness --help"
        )
    _require_not_moved(asked, argv)
    arguments, unknown = parser_for(argv).parse_known_args(argv or ["--help"])
    name = _full_name(arguments)
    if unknown:
        raise _not_known(name, unknown[0])
    complete(arguments, name)
    return arguments


def _not_known(name: str, word: str) -> UsageError:
    """The error for a word that a command does not take, or not in front of its name."""
    options = _options(name)
    option = word.partition("=")[0]
    if option in options:
        return UsageError(
            f"{option} is in front of the command that it belongs to",
            hint=f"give it after the name: harness {name} {option}",
        )
    return UsageError(
        f"harness {name} does not know {word!r}" + _meant(word, options),
        hint=f"see: harness {name} --help",
    )


def _without_help_command(argv: Sequence[str]) -> Sequence[str]:
    """``help eval`` as ``eval --help``."""
    if _command(argv) != "help":
        return argv
    return [*(word for word in argv if not word.startswith("-"))][1:] + ["--help"]


def _require_not_moved(asked: str | None, argv: Sequence[str]) -> None:
    """Check that no option is used that has become something else.

    Raises:
        UsageError: One is; with what to type.
    """
    for (command, option), instead in MOVED.items():
        if command == asked and any(word.partition("=")[0] == option for word in argv):
            raise UsageError(f"harness {command} has no {option} any more", hint=f"use: {instead}")


def _full_name(arguments: argparse.Namespace) -> str:
    """The command with its sub-command, such as ``data convert``."""
    parts = (getattr(arguments, name, None) for name in ("command", *NESTED))
    return " ".join(part for part in parts if part)


def _command(argv: Sequence[str]) -> str | None:
    return next((word for word in argv if not word.startswith("-")), None)


def _options(name: str) -> list[str]:
    """The options of a command such as ``eval``, or of a part of one such as ``data convert``."""
    command, *parts = name.split()
    alone: argparse.ArgumentParser = Parser()
    import_module(f"harness.cli.{command}").add_arguments(alone)
    for part in parts:
        alone = _nested(alone)[part]
    return re.findall(r"--[a-z-]+", alone.format_usage())


def _meant(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word.partition("=")[0], list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def parser_for(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The parser, with the options of only that command that is named.

    Args:
        argv: A command line, without the program's name.
    """
    return build_parser(lambda name: name == _command(argv))


def build_parser(wanted: Callable[[str], bool]) -> argparse.ArgumentParser:
    """The parser of the program.

    Args:
        wanted: Whether a command, by its name, gets its options; importing all of them takes long.
    """
    formatter = _formatter()
    parser = Overview(
        prog="harness",
        description="Do the COCO numbers of the Detectron2 model zoo reproduce here?",
        formatter_class=formatter,
    )
    parser.add_argument("--version", action="version", version=f"harness {__version__}")
    parser.add_argument(
        "--quiet",
        action="store_true",
        default=argparse.SUPPRESS,
        help="print only results, warnings and errors",
    )
    parser.add_argument(
        "--verbose", action="store_true", default=argparse.SUPPRESS, help="print more details"
    )
    # With the name said, argparse need not format a usage line to find it.
    commands = parser.add_subparsers(
        prog="harness", dest="command", metavar="command", required=True, parser_class=Parser
    )
    for name, help_line in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=help_line,
            description=help_line,
            formatter_class=formatter,
            allow_abbrev=False,
        )
        if wanted(name):
            import_module(f"harness.cli.{name}").add_arguments(command)
            for nested in _nested(command).values():
                nested.allow_abbrev = False
                nested.formatter_class = formatter
                nested.description = nested.description or _help_line(command, nested)
    return parser


def _formatter() -> type[argparse.HelpFormatter]:
    """Headings as they are written; with NO_COLOR plain text, without bold as well."""
    if os.environ.get("NO_COLOR"):
        return Usage
    from rich_argparse import RichHelpFormatter

    class Formatter(Usage, RichHelpFormatter):
        group_name_formatter = str
        # Braces and brackets in help texts are no markup.
        help_markup = False

    return Formatter


def _help_line(command: argparse.ArgumentParser, nested: argparse.ArgumentParser) -> str | None:
    """What the help of a command says of one of its own commands."""
    listed = (
        one
        for action in command._actions
        if isinstance(action, argparse._SubParsersAction)
        for one in action._choices_actions
        if action.choices[one.dest] is nested
    )
    return next((one.help for one in listed), None)


def _nested(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The commands of a command, such as ``eval`` of ``submit``."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= action.choices
    return found
