"""Settings as TOML files: what ``--config`` reads, and what every run leaves as ``config.toml``.

The keys of a file are the names of the settings, as the Python API has them, all at the top level.
``command`` names the command a file is for. A relative path in a file is relative to the folder of
the file, whatever the working folder is. TOML has no null: what is not in a file has its default.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.core.errors import UsageError
from harness.core.settings import Setting, checked_value, flat_settings, require_known, value_of
from harness.files.toml import read_table

CONFIG = "config.toml"

#: The key that says which command a file is for.
COMMAND = "command"


def read_config(path: Path, known: Iterable[Setting], *, command: str) -> dict[str, Any]:
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
    if meant not in (command, command.removeprefix("submit ")):
        raise UsageError(
            f"{path} is a configuration of harness {meant}, not of harness {command}",
            hint=f"run: harness {meant} --config {path}",
        )
    by_name = {one.name: one for one in known}
    require_known(table, by_name, where=str(path))
    try:
        typed = {name: checked_value(by_name[name], value) for name, value in table.items()}
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", hint=error.hint) from error
    return {name: placed(by_name[name], value, path.parent) for name, value in typed.items()}


def placed(one: Setting, value: Any, folder: Path) -> Any:
    """A value of a setting, in which a relative path or glob is below a folder.

    Args:
        one: The setting.
        value: Of its type.
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


def config_text(request: Any, *, command: str, changed: Mapping[str, Any] | None = None) -> str:
    """A request as the TOML file that repeats it.

    Args:
        request: Composed of settings. Those that are not ``kept`` and those that are None are left
            out; paths are absolute.
        command: The command that the file is for.
        changed: Values to write in the place of the request's, by name.
    """
    import tomli_w

    table: dict[str, Any] = {COMMAND: command}
    for one in flat_settings(type(request)):
        value = (changed or {}).get(one.name, value_of(request, one))
        if one.kept and value is not None:
            table[one.name] = _plain(placed(one, value, Path.cwd()))
    return tomli_w.dumps(table)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
