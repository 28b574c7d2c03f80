"""Usage lines: what has to be given stands without brackets."""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterable
from typing import Any


class Needed(argparse._StoreAction):
    """An argument without a default. argparse does not ask for it: a ``--config`` may give it."""


class Usage(argparse.HelpFormatter):
    """Help texts whose usage line shows which arguments are needed."""

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[Any],
        prefix: str | None = None,
    ) -> None:
        """Add the usage line; the arguments are those of argparse's formatter."""
        super().add_usage(usage, [_as_needed(one) for one in actions], groups, prefix)


def _as_needed(action: argparse.Action) -> argparse.Action:
    """The action as one that argparse asks for, where it is needed."""
    if not isinstance(action, Needed):
        return action
    needed = copy.copy(action)
    needed.required = True
    if not action.option_strings:
        needed.nargs = {"?": None, "*": "+"}[str(action.nargs)]
    return needed
