"""One definition per setting: a dataclass field that knows its help, unit, choices and bounds.

A request is a frozen dataclass whose fields are settings, or parts: smaller dataclasses of
settings. Everything that offers settings reads them from here: flags and help of the command line,
``--config`` files, the option tables in the documents, the signatures of the Python API, and the
identity of a training.

    @dataclass(frozen=True, slots=True, kw_only=True)
    class EngineOptions:
        group: ClassVar[str] = "how to run it"
        threads: int | None = setting(None, help="CPU threads", none="all cores", minimum=1)

    @dataclass(frozen=True, slots=True, kw_only=True)
    class EvalRequest:
        compute: EngineOptions = part(EngineOptions)
        output: Path | None = setting(None, help="run folder", none="results/runs/<run id>")

    flat_settings(EvalRequest)            # (Setting threads, Setting output)
    compose(EvalRequest, {"threads": 4})  # EvalRequest(compute=EngineOptions(threads=4), …)
    flatten(request)                      # {"threads": 4, "output": None}
    signature_of(EvalRequest)             # (*, threads: int | None = None, output: …)

    command_line("eval", request)         # ("harness", "eval", "--threads", "4"), for records

A name is unique within a request, however deep its setting is.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from harness.core.errors import UsageError
from harness.core.printable import shown
from harness.core.setting_fields import PART, Setting, all_settings, flat_settings, part, setting

__all__ = [
    "Setting",
    "bounds_text",
    "check_settings",
    "checked_value",
    "compose",
    "flag_of",
    "flat_settings",
    "flatten",
    "identity_defaults",
    "identity_of",
    "keyword_of",
    "part",
    "recalled",
    "recorded",
    "replaced",
    "require_known",
    "setting",
    "signature_of",
    "value_of",
]

T = TypeVar("T")

#: How errors name a setting.
Called = Callable[[Setting], str]

#: Of a whole number; what is larger is not a setting, and no float either.
MOST_BITS = 63


def flag_of(one: Setting) -> str:
    """How the command line knows a setting: the flag, or the word of a positional one."""
    return (one.metavar or one.name).upper() if one.positional else one.flag


def keyword_of(one: Setting) -> str:
    """How the Python API and files know a setting."""
    return one.name


def compose(
    kind: type[T],
    values: Mapping[str, Any],
    *,
    defaults: Mapping[str, Any] | None = None,
    called: Called = flag_of,
) -> T:
    """A request from flat values by name, each of them checked.

    Args:
        kind: Class of the request.
        values: Setting name → value, as Python or TOML has it: lists for tuples, text for paths.
            What is missing has its default.
        defaults: Other defaults, by name of the setting or of its place; unknown ones are ignored.
        called: How errors name a setting.

    Raises:
        UsageError: For an unknown name (with the nearest known one), a missing one, a wrong type,
            a word that is no choice, or a number out of bounds.
    """
    known = {one.name: one for one in flat_settings(kind)}
    require_known(values, known)
    other = defaults or {}
    checked: dict[str, Any] = {}
    for name, one in known.items():
        if name in values:
            checked[name] = checked_value(one, values[name], called)
        elif name in other or one.place in other:
            value = other[name if name in other else str(one.place)]
            checked[name] = checked_value(one, value, called)
        elif one.required:
            raise UsageError(f"{called(one)} is missing", hint=one.help)
    return _built(kind, checked)


def require_known(given: Iterable[str], known: Iterable[str], *, where: str = "") -> None:
    """Raise UsageError for a name in ``given`` that is not ``known``, with the nearest one.

    Args:
        given: Names that were given.
        known: Names that there are.
        where: What the name was found in, for the message.
    """
    names = list(known)
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            meant = f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(names)}"
            raise UsageError(f"{where + ': ' if where else ''}unknown setting {name!r}{meant}")


def _built(kind: type[T], values: Mapping[str, Any], *, offered_only: bool = True) -> T:
    """``kind`` from flat values that are right; parts whose settings are not given are defaults.

    Args:
        kind: Class of the request.
        values: Setting name → value.
        offered_only: Whether settings that a part is ``without`` keep their defaults.
    """
    given: dict[str, Any] = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if (inner := field.metadata.get(PART)) is not None:
            left_out = inner["without"] if offered_only else ()
            offered = {name: value for name, value in values.items() if name not in left_out}
            given[field.name] = _updated(field.default, offered)
        elif field.name in values:
            given[field.name] = values[field.name]
    return kind(**given)


def _updated(instance: T, values: Mapping[str, Any]) -> T:
    """``instance`` with flat values in the place of its own."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(instance):  # type: ignore[arg-type]
        if field.metadata.get(PART) is not None:
            changes[field.name] = _updated(getattr(instance, field.name), values)
        elif field.name in values:
            changes[field.name] = values[field.name]
    return dataclasses.replace(instance, **changes) if changes else instance  # type: ignore[type-var]


def replaced(request: T, **values: Any) -> T:
    """``request`` with other values of settings, given by their flat names.

    Raises:
        UsageError: As `compose`.
    """
    known = {one.name: one for one in flat_settings(type(request))}
    require_known(values, known)
    return _updated(request, {name: checked_value(known[name], values[name]) for name in values})


def flatten(request: Any) -> dict[str, Any]:
    """Setting name → value, over all parts."""
    return {one.name: value_of(request, one) for one in flat_settings(type(request))}


def value_of(request: Any, one: Setting) -> Any:
    """The value that ``one`` has in ``request``."""
    holder = request
    for name in one.path:
        holder = getattr(holder, name)
    return getattr(holder, one.name)


def check_settings(request: Any) -> None:
    """Raise UsageError unless every setting of ``request`` has a value that is allowed."""
    for one in flat_settings(type(request)):
        checked_value(one, value_of(request, one))


def identity_of(request: Any) -> dict[str, Any]:
    """Setting name → value of those that can change a number that comes out."""
    return {one.name: value_of(request, one) for one in flat_settings(type(request)) if one.numbers}


def identity_defaults(kind: type[Any]) -> dict[str, Any]:
    """Setting name → default of those that can change a number that comes out.

    What was written before a setting existed is compared as if it said the default.
    """
    return {
        one.name: one.default for one in flat_settings(kind) if one.numbers and not one.required
    }


def recorded(request: Any) -> dict[str, Any]:
    """The request as records keep it: nested parts under their names, all other settings flat."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(request):
        value = getattr(request, field.name)
        inner = field.metadata.get(PART)
        if inner is None:
            found[field.name] = value
        elif inner["nested"]:
            found[field.name] = recorded(value)
        else:
            found |= recorded(value)
    return found


def recalled(kind: type[T], record: Mapping[str, Any]) -> T:
    """A request from what `recorded` kept of it, also by a version with fewer settings.

    Raises:
        UsageError: As `compose`.
    """
    known = {one.name: one for one in all_settings(kind)}
    values = dict(_leaves(record))
    require_known(values, known)
    checked = {name: checked_value(known[name], values[name]) for name in values}
    return _built(kind, checked, offered_only=False)


def _leaves(record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from _leaves(value)
        else:
            yield name, value


def signature_of(kind: type[Any]) -> inspect.Signature:
    """The settings of a request as keyword-only parameters with their types and defaults."""
    return inspect.Signature(
        [
            inspect.Parameter(
                one.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if one.required else one.default,
                annotation=one.annotation,
            )
            for one in flat_settings(kind)
        ]
    )


def checked_value(one: Setting, value: Any, called: Called = flag_of) -> Any:
    """``value`` with the type of the setting; UsageError where it is not allowed.

    Args:
        one: The setting.
        value: As Python or TOML has it.
        called: How errors name the setting.
    """
    if value is None:
        if one.optional:
            return None
        raise UsageError(f"{called(one)} needs a value")
    if not one.many:
        return _checked_item(one, value, called)
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise UsageError(f"{called(one)} must be a list, got {value!r}")
    return tuple(_checked_item(one, item, called) for item in value)


def _checked_item(one: Setting, value: Any, called: Called) -> Any:
    typed = _typed(one, value, called)
    if one.choices and typed not in one.choices:
        near = difflib.get_close_matches(str(typed), one.choices, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(
            f"{called(one)} must be one of {', '.join(one.choices)}, got {typed!r}{meant}"
        )
    if isinstance(typed, int | float) and not isinstance(typed, bool):
        _check_bounds(one, typed, called)
    return typed


def _typed(one: Setting, value: Any, called: Called) -> Any:
    if one.item is Path and isinstance(value, str | Path):
        if str(value):
            return Path(value)
        raise UsageError(f"{called(one)} must name a file or folder, got an empty text")
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        raise UsageError(f"{called(one)} is {shown(value)}, more than {MOST_BITS} bits")
    if one.item is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    is_right = isinstance(value, one.item) and not (one.item is int and isinstance(value, bool))
    if is_right:
        return value
    kinds = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a text",
        Path: "a path",
    }
    raise UsageError(f"{called(one)} must be {kinds[one.item]}, got {shown(value)}")


def _check_bounds(one: Setting, value: float, called: Called) -> None:
    right = (
        math.isfinite(value)
        and (one.minimum is None or value >= one.minimum)
        and (one.maximum is None or value <= one.maximum)
        and (one.above is None or value > one.above)
        and (one.below is None or value < one.below)
    )
    if not right:
        unit = "" if one.unit is None else f" {one.unit}"
        raise UsageError(f"{called(one)} must be {bounds_text(one)}, got {value:g}{unit}")


def bounds_text(one: Setting) -> str:
    """The numbers that a setting allows, in words; "a finite number" without bounds."""
    if one.minimum is not None and one.maximum is not None:
        return f"from {one.minimum:g} to {one.maximum:g}"
    sides = {
        "at least": one.minimum,
        "above": one.above,
        "at most": one.maximum,
        "below": one.below,
    }
    named = [f"{word} {limit:g}" for word, limit in sides.items() if limit is not None]
    return " and ".join(named) or "a finite number"


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
            several = one.many and one.spaced
            positional += [one.shown([item]) for item in value] if several else [str(value)]
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
