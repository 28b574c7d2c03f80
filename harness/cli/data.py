"""``harness data``: your own annotations converted, checked, cleaned, split and joined."""

from __future__ import annotations

import argparse
from importlib import import_module

#: Action → the module of ``harness.cli`` that has its options, runs it and prints its answer.
ACTIONS = {
    "convert": "data_convert",
    "check": "data_check",
    "clean": "data_edit",
    "split": "data_edit",
    "merge": "data_edit",
    "subset": "data_edit",
    "openimages": "data_openimages",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions, each with its own options."""
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    for name, module in ACTIONS.items():
        import_module(f"harness.cli.{module}").add_action(actions, name)


def run(arguments: argparse.Namespace) -> int:
    """Run the action's module; return its exit code."""
    code: int = import_module(f"harness.cli.{ACTIONS[arguments.action]}").run(arguments)
    return code
