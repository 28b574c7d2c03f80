"""TOML files as typed values, and as settings: ``--config``, and the ``config.toml`` of every run.

The keys of a file of settings are the names of the settings, as the Python API has them, all at the
top level. ``command`` names the command a file is for. A relative path in a file is relative to the
folder of the file, whatever the working folder is. TOML has no null: what is not in a file has its
default. The table ``sha256`` has hashes of files that settings name.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from harness.core.errors import IntegrityError, UsageError
from harness.core.printable import shown, shown_text
from harness.core.settings import Setting, checked_value, flat_settings, require_known, value_of
from harness.files.digest import file_digest
from harness.files.json import to_typed
from harness.files.readable import require_end

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")

#: Characters of the parser's message that are shown.
MESSAGE = 200


def read_toml(kind: type[T], path: Path) -> T:
    """The content of ``path`` as ``kind``; UsageError for unknown keys and for wrong values."""
    try:
        return to_typed(kind, read_table(path, what="file"), where=str(path))
    except IntegrityError as error:  # what people write by hand is part of what they ask for
        raise UsageError(error.message, hint=error.hint) from error


def read_table(path: Path, *, what: str) -> dict[str, Any]:
    """Read a TOML file as a table.

    Args:
        path: The file.
        what: The word for it in errors.

    Raises:
        UsageError: It is not there, cannot be read or is not TOML.
    """
    try:
        require_end(path)
        # Some editors write a byte order mark, which is no part of the text.
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UsageError(f"no such {what}: {path}") from None
    except OSError as error:
        raise UsageError(f"cannot read {what} {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{what} {path} is not UTF-8: byte 0x{error.object[error.start]:02x} at position "
            f"{error.start}",
            hint="save it as UTF-8, which TOML is written in",
        ) from error
    except RecursionError as error:
        raise UsageError(f"{path} is not TOML that can be read: it is nested too deeply") from error
    except ValueError as error:  # also numbers of more digits than Python reads
        reason = shown_text(str(error), MESSAGE)
        raise UsageError(f"{path} is not TOML: {reason}") from error
    return table


CONFIG = "config.toml"

#: The key that says which command a file is for.
COMMAND = "command"

#: The table of hashes, by the name of the setting.
SHA256 = "sha256"


class Config(NamedTuple):
    """What a file of settings says."""

    settings: dict[str, Any]
    """Settings by name, with their types."""

    sha256: dict[str, str]
    """Setting name → what the file must be that it names; only of some."""


def read_config(path: Path, known: Iterable[Setting], *, command: str) -> Config:
    """The settings that a file gives, by name, with their types.

    Args:
        path: A TOML file.
        known: The settings of the command.
        command: Its name, such as ``eval`` or ``submit eval``.

    Raises:
        UsageError: For a file that cannot be read or is for another command, an unknown key (with
            the nearest known one), and a value that is not allowed.
    """
    table = read_table(path, what="configuration file")
    meant = table.pop(COMMAND, command)
    # A submitted evaluation takes the file of an evaluation, and data convert no other's.
    if not isinstance(meant, str):
        raise UsageError(f"{path}: {COMMAND} must be the name of a command, not {shown(meant)}")
    if meant not in (command, command.removeprefix("submit ")):
        raise UsageError(
            f"{path} is a configuration of harness {meant}, not of harness {command}",
            hint=f"run: harness {meant} --config {shlex.quote(str(path))}",
        )
    by_name = {one.name: one for one in known}
    hashes = _hashes(table.pop(SHA256, {}), table, path)
    require_known(table, by_name, where=str(path))
    try:
        typed = {name: checked_value(by_name[name], value) for name, value in table.items()}
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", hint=error.hint) from error
    found = {name: placed(by_name[name], value, path.parent) for name, value in typed.items()}
    return Config(found, hashes)


def _hashes(given: Any, table: dict[str, Any], path: Path) -> dict[str, str]:
    """The hashes that a file gives.

    Raises:
        UsageError: They are not tables, or one is of no setting of the file.
    """
    if not isinstance(given, dict):
        raise UsageError(f"{path}: {SHA256} must be a table: [{SHA256}]")
    for name, value in given.items():
        if not isinstance(table.get(name), str):
            raise UsageError(
                f"{path}: [{SHA256}] has {shown_text(name)}, and the file names no file in "
                f"{shown_text(name)}"
            )
        if not isinstance(value, str):
            raise UsageError(f"{path}: [{SHA256}] {name} must be a text of hexadecimal digits")
    return {name: value.lower() for name, value in given.items()}


def placed(one: Setting, value: Any, folder: Path) -> Any:
    """A value of a setting, in which a relative path or glob is below a folder.

    Args:
        one: The setting.
        value: Value of the setting's type.
        folder: What relative paths are relative to.
    """
    if isinstance(value, tuple):
        return tuple(placed(one, item, folder) for item in value)
    if isinstance(value, Path):
        return folder / value
    # Words that may be files: globs always are, others where there is such a file.
    if one.files and isinstance(value, str) and (one.many or (folder / value).is_file()):
        return str(folder / value)
    return value


def config_text(request: Any, *, command: str, digest: Callable[[Path], str] = file_digest) -> str:
    """A request as the TOML file that repeats it.

    Args:
        request: Composed of settings. Those that are not ``kept`` and those that are None are left
            out; paths are absolute. Files that are ``proven`` have their hash.
        command: The command that the file is for.
        digest: Returns the sha256 of a file that is ``proven``.
    """
    import tomli_w

    table: dict[str, Any] = {COMMAND: command}
    hashes: dict[str, str] = {}
    for one in flat_settings(type(request)):
        value = value_of(request, one)
        if not one.kept or value is None:
            continue
        table[one.name] = _plain(placed(one, value, Path.cwd()))
        if one.proven and Path(value).is_file():
            hashes[one.name] = digest(Path(value))
    if hashes:  # last: what follows a table in TOML belongs to it
        table[SHA256] = hashes
    return tomli_w.dumps(table)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
