"""The command line that a request stands for: records and hints name it, also of a Python call."""

from __future__ import annotations

from typing import Any

from harness.core.settings import Setting, flat_settings, value_of


def command_line(command: str, request: Any) -> tuple[str, ...]:
    """The words of a command that ask for the same as ``request``.

    Args:
        command: Name of the command, such as ``eval`` or ``data convert``.
        request: Composed of settings; those with their default are left out.
    """
    positional: list[str] = []
    options: list[str] = []
    for one in flat_settings(type(request)):
        value = value_of(request, one)
        if one.positional and value is not None:
            positional += one.shown(value).split(" ") if one.many and one.spaced else [str(value)]
        elif not one.positional and (one.required or value != one.default):
            options += _option(one, value)
    return ("harness", *command.split(), *positional, *options)


def _option(one: Setting, value: Any) -> list[str]:
    if one.item is bool and not one.many:
        return [one.flag if value else f"--no-{one.flag[2:]}"]
    if value is None:
        return []
    if one.many and one.spaced:
        return [one.flag, *(one.shown([item]) for item in value)]
    return [one.flag, one.shown(value)]
