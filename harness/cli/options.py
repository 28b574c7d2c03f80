"""Options made from settings, and requests made from a parsed command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from harness.cli.usage import Needed
from harness.core.errors import HarnessError, UsageError
from harness.core.requests.queries import GeneralOptions, OutputOptions
from harness.core.settings import Setting, compose, flat_settings, flatten

T = TypeVar("T")


def add_settings(parser: argparse.ArgumentParser, *kinds: type[Any]) -> None:
    """Add one option for each setting, and those that every command has.

    Args:
        parser: Parser of the command.
        kinds: Requests whose fields are the settings; of two with the same name the first counts.
    """
    settings: dict[str, Setting] = {}
    for kind in (*kinds, GeneralOptions):
        for one in flat_settings(kind):
            settings.setdefault(one.name, one)
    places = _places(settings.values())
    groups: dict[str, argparse._ArgumentGroup] = {}
    for one in settings.values():
        if one.positional:
            _add_positional(parser, one)
            continue
        if one.group not in groups:
            groups[one.group] = parser.add_argument_group(one.group)
        _add_option(groups[one.group], one, places)
    parser.set_defaults(settings=tuple(settings.values()))


def add_output_settings(parser: argparse.ArgumentParser, *kinds: type[Any]) -> None:
    """Add the same for a command whose result is a table, or JSON.

    Args:
        parser: Parser of the command.
        kinds: Requests whose fields are the settings.
    """
    add_settings(parser, *kinds, OutputOptions)


def complete(arguments: argparse.Namespace, command: str) -> None:
    """Fill in what the command line did not give: from ``--config``, else the default.

    Args:
        arguments: Changed in place; afterwards it has every setting of the command.
        command: Name of the command, with that of its sub-command.

    Raises:
        UsageError: A value of the file is invalid, or a required setting is missing.
        IntegrityError: A file that the file names by its hash has changed.
    """
    settings: Sequence[Setting] = getattr(arguments, "settings", ())
    given = {name: value for name, value in vars(arguments).items() if value not in (None, [])}
    from_file: Mapping[str, Any] = {}
    if "config" in given:
        from_file = _settings_of_file(given, settings, command)
    missing = []
    for one in settings:
        if one.name in given:
            continue
        if one.name in from_file:
            setattr(arguments, one.name, from_file[one.name])
        elif one.required:
            missing.append((one.metavar or one.name) if one.positional else one.flag)
        else:
            setattr(arguments, one.name, _default(one))
    if missing:
        raise UsageError(
            f"harness {command}: the following arguments are required: {', '.join(missing)}",
            hint=f"see: harness {command} --help",
        )


def _settings_of_file(
    given: Mapping[str, Any], settings: Sequence[Setting], command: str
) -> Mapping[str, Any]:
    """The settings of ``--config``; a file that has changed is refused unless it is given itself.

    Raises:
        UsageError: A value is invalid.
        IntegrityError: A file has changed since its hash was written.
    """
    from harness.files.toml import read_config

    config = read_config(given["config"], settings, command=command)
    hashes = {name: value for name, value in config.sha256.items() if name not in given}
    if not hashes:
        return config.settings
    from harness.workflows.runs.weights import unchanged_file

    found = dict(config.settings)
    for one in settings:
        if one.name in hashes:
            path = unchanged_file(
                Path(found[one.name]), hashes[one.name], config=given["config"], option=one.flag
            )
            found[one.name] = one.item(path)
    return found


def request_from(kind: type[T], arguments: argparse.Namespace) -> T:
    """A request whose settings are the arguments of the same name.

    Args:
        kind: The request's class.
        arguments: The parsed and completed command line.
    """
    given = {one.name: getattr(arguments, one.name) for one in flat_settings(kind)}
    return compose(kind, given)


def settings_from(kind: type[Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings of a request by name, checked: keywords of a function of the Python API.

    Args:
        kind: The request's class.
        arguments: The parsed and completed command line.
    """
    return flatten(request_from(kind, arguments))


def _default(one: Setting) -> Any:
    if one.place is None:
        return one.default
    from harness.files.layout import default_places

    return default_places()[one.place]


def _reader(one: Setting) -> Any:
    """What argparse makes the value of a word with."""
    return _path if one.item is Path else one.item


def _path(word: str) -> Path:
    """A path. An empty word, as of a variable of the shell that is not set, is none.

    Raises:
        argparse.ArgumentTypeError: It is empty; ``Path`` would make it the working folder.
    """
    if not word:
        raise argparse.ArgumentTypeError("must name a file or folder, got an empty text")
    return Path(word)


def _add_positional(parser: argparse.ArgumentParser, one: Setting) -> None:
    # None of them is needed by argparse: a file may give it.
    parser.add_argument(
        one.name,
        action=Needed if one.required else "store",
        nargs="*" if one.many else "?",
        type=_reader(one),
        choices=one.choices or None,
        metavar=one.metavar,
        help=_escaped(one.description),
    )


def _add_option(group: argparse._ArgumentGroup, one: Setting, places: Mapping[str, str]) -> None:
    text = one.description
    if one.place is not None and one.place in places:
        text = f"{one.help} (default: {places[one.place]})"
    elif one.none is not None and "results" in places:
        text = text.replace("results/", f"{places['results']}/")
    if one.item is bool and not one.many:
        _add_switch(group, one)
        return
    details: dict[str, Any] = {"type": _reader(one)}
    if one.many and one.spaced:
        details["nargs"] = "+"
    elif one.many:
        details["type"] = _list_of(one)
    elif one.choices:
        details["choices"] = one.choices
    group.add_argument(
        one.flag,
        *one.aliases,
        action=Needed if one.required else "store",
        dest=one.name,
        default=argparse.SUPPRESS,
        metavar=one.metavar or (None if one.choices else one.flag[2:].replace("-", "_").upper()),
        help=_escaped(text),
        **details,
    )


def _add_switch(group: argparse._ArgumentGroup, one: Setting) -> None:
    """Add an option that turns a switch from its default, and a hidden one that turns it back.

    The hidden one is for command lines whose ``--config`` file turned it.
    """
    words = {True: one.flag, False: f"--no-{one.flag[2:]}"}
    for value, word in words.items():
        changes = value != one.default
        help_text = one.help if value else f"do not {one.help}"
        group.add_argument(
            word,
            dest=one.name,
            action="store_const",
            const=value,
            default=argparse.SUPPRESS,
            help=_escaped(help_text) if changes else argparse.SUPPRESS,
        )


def _list_of(one: Setting) -> Callable[[str], tuple[Any, ...]]:
    """Words separated by commas → their values, each once."""

    def parse(text: str) -> tuple[Any, ...]:
        words = [word.strip() for word in text.split(",") if word.strip()]
        known = one.words or {word: word for word in one.choices}
        for word in words:
            if known and word not in known:
                raise argparse.ArgumentTypeError(
                    f"{word!r} is not known; choose from {', '.join(known)}, with commas in between"
                )
        try:
            values = [known[word] if known else one.item(word) for word in words]
        except ValueError:
            kind = "whole numbers" if one.item is int else "numbers"
            raise argparse.ArgumentTypeError(
                f"expected {kind} with commas between them, got {text!r}"
            ) from None
        # Shares of a split may be equal; a word is meant once.
        return tuple(values) if one.item is float else tuple(dict.fromkeys(values))

    return parse


def _places(settings: Any) -> dict[str, str]:
    """The folders that defaults stand for, as help texts show them."""
    if all(one.place is None for one in settings):
        return {}
    from harness.files.layout import default_places

    try:
        return {name: _shown(path) for name, path in default_places().items()}
    except HarnessError:
        return {}


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _escaped(text: str) -> str:
    """For argparse, to which % is special."""
    return text.replace("%", "%%")
