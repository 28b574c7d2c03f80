"""The command line: finds the command, runs it, turns what happened into an exit code.

Each command is a module with ``add_arguments(parser)`` and ``run(arguments) -> int``; it is
imported only when it is the one asked for, so ``--help`` stays fast.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
import traceback
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import NoReturn

from harness import __version__
from harness.core.errors import HarnessError, UsageError

#: Command name → one line of help. The module is ``harness.cli.<name>``.
COMMANDS = {
    "eval": "measure AP of a model and check it against its references",
    "bench": "measure inference speed and check it against its references",
    "score": "score saved predictions again, on CPU",
    "train": "retrain a model, or fine-tune it on your own data",
    "predict": "find and draw objects in pictures of your own",
    "show": "pictures of a data set, or of a run beside the truth, worst first",
    "parity": "compare two engines stage by stage on the same images",
    "export": "write a model as an ONNX file, and prove it against the native engine",
    "download": "fetch and prove data sets and checkpoints",
    "nightly": "measure a matrix of models and engines, and compare with the nights before",
    "history": "trends over the nights, and where they drift",
    "compare": "what differs between two runs, and whether it is more than noise",
    "serve": "answer images sent over HTTP, with a web page to try it",
    "models": "list the zoo: references, and what is on disk",
    "data": "your own annotations: convert, check, clean, split, merge; fetch Open Images",
    "weights": "check, convert or generate checkpoints",
    "submit": "the same on a SLURM cluster, as a job array",
    "status": "how far every job of a submitted run is",
    "logs": "the last lines of a submitted run's logs, and where they are",
    "cancel": "stop the jobs of a submitted run; what is finished stays",
    "wait": "wait for a submitted run, and answer as the command itself would have",
    "selftest": "prove claims of the harness about itself on the embedded data set",
    "doctor": "check this machine, with the fix for what is wrong",
}

BUG_EXIT_CODE = 70
INTERRUPTED_EXIT_CODE = 130


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one message like all others; its sub-commands' are, too."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError: what is wrong, and where to read on."""
        raise UsageError(f"{self.prog}: {message}", hint=f"see: {self.prog} --help")


def run(argv: Sequence[str]) -> int:
    """The exit code of the command line ``argv`` (without the program's name)."""
    try:
        arguments = _arguments(argv)
        code: int = import_module(f"harness.cli.{arguments.command}").run(arguments)
        return code
    except HarnessError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED_EXIT_CODE
    except BrokenPipeError:
        # The reader of stdout went away (``harness models | head``): nobody is left to tell. What
        # is still buffered would fail once more when Python leaves.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:
        traceback.print_exc()
        sys.stderr.write("this is a bug in harness; please report it with the lines above\n")
        return BUG_EXIT_CODE


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The parsed command line; UsageError, with what may have been meant, for unknown words."""
    asked = _command(argv)
    if asked is not None and asked not in COMMANDS:
        raise UsageError(
            f"unknown command {asked!r}" + _meant(asked, COMMANDS), hint="see: harness --help"
        )
    arguments, unknown = _parser(argv).parse_known_args(argv or ["--help"])
    if unknown:
        raise UsageError(
            f"harness {asked} does not know {unknown[0]!r}" + _meant(unknown[0], _options(asked)),
            hint=f"see: harness {asked} --help",
        )
    return arguments


def _command(argv: Sequence[str]) -> str | None:
    return next((word for word in argv if not word.startswith("-")), None)


def _options(command: str | None) -> list[str]:
    alone = Parser()
    import_module(f"harness.cli.{command}").add_arguments(alone)
    parsers = [alone, *_nested(alone).values()]
    return [word for one in parsers for word in re.findall(r"--[a-z-]+", one.format_usage())]


def _meant(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word.partition("=")[0], list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The parser, with the options of only that command that ``argv`` names."""
    formatter = _formatter()
    parser = Parser(
        prog="harness",
        description="Proof that COCO numbers of the Detectron2 model zoo reproduce here.",
        formatter_class=formatter,
    )
    parser.add_argument("--version", action="version", version=f"harness {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    asked = _command(argv)
    for name, help_line in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=help_line,
            description=help_line,
            formatter_class=formatter,
            allow_abbrev=False,
        )
        if name == asked:
            import_module(f"harness.cli.{name}").add_arguments(command)
            for nested in _nested(command).values():
                nested.allow_abbrev = False
                nested.formatter_class = formatter
    return parser


def _formatter() -> type[argparse.HelpFormatter]:
    """Help that shows every default there is."""
    from rich_argparse import RichHelpFormatter

    class Formatter(RichHelpFormatter):
        def _get_help_string(self, action: argparse.Action) -> str | None:
            told = action.help is None or "default" in action.help or not action.option_strings
            if told or action.default in (None, False, (), argparse.SUPPRESS):
                return action.help
            return f"{action.help} (default: %(default)s)"

    return Formatter


def _nested(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The commands of a command, such as ``eval`` of ``submit``."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= action.choices
    return found
