"""What a setting is, and how a dataclass field says it; see `harness.core.settings`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    TypedDict,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: Places that only the machine knows: their default is filled in from outside.
Place = Literal["datasets", "results"]

#: Keys of a field's metadata.
SETTING = "setting"
PART = "part"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting of a request, as the command line, files and documents need it."""

    name: str
    """Of the field; the key in files and the keyword in Python."""
    path: tuple[str, ...]
    """Names of the parts on the way to it, outermost first."""
    annotation: Any
    """The whole type of the field, such as ``int | None``."""
    item: Any
    """The type of one value: bool, int, float, str or Path; a Literal is str."""
    many: bool
    """Whether it holds a tuple of values."""
    optional: bool
    """Whether it may be None."""
    default: Any
    """``dataclasses.MISSING`` where it must be given."""
    help: str
    """What it is, without default and unit."""
    group: str
    """Heading that it stands under in help texts and documents."""
    unit: str | None = None
    """Of the number, such as ``px`` or ``seconds``."""
    none: str | None = None
    """What None stands for, such as ``all cores``."""
    choices: tuple[str, ...] = ()
    """The words that are allowed; () for all."""
    flag: str = ""
    """The long option, with its dashes."""
    aliases: tuple[str, ...] = ()
    """Other options of the same setting, with dashes; a short one among them."""
    metavar: str | None = None
    """What stands for the value in a usage line."""
    minimum: float | None = None
    """Least value that is allowed."""
    maximum: float | None = None
    """Greatest value that is allowed."""
    above: float | None = None
    """The value must be greater."""
    below: float | None = None
    """The value must be less."""
    positional: bool = False
    """Whether the command line takes it without a flag."""
    spaced: bool = False
    """Whether several values are separated by spaces on the command line, not by commas."""
    words: Mapping[str, Any] | None = None
    """Words of the command line for values that are none, such as ``yes`` for True."""
    numbers: bool = True
    """Whether it can change a number that comes out; those that can are part of an identity."""
    kept: bool = True
    """Whether a run's ``config.toml`` keeps it; what names only that run is not repeated."""
    place: Place | None = None
    """The place that is its default, where there is one."""
    files: bool = False
    """Whether its words may be the names of files."""
    proven: bool = False
    """Whether a run's ``config.toml`` keeps the sha256 of its file, which may change later."""

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is MISSING

    @property
    def default_text(self) -> str | None:
        """The default in words; None where there is none to mention."""
        if self.required:
            return None
        if self.default is None:
            return self.none
        if self.item is bool and not self.many:
            return "on" if self.default else None
        if self.default == () and self.none is not None:
            return self.none
        return self.shown(self.default)

    @property
    def description(self) -> str:
        """Help with unit and default, as help texts and documents show it."""
        notes = [] if self.unit is None else [f"in {self.unit}"]
        listed = self.choices and (self.many or self.metavar)
        notes += [f"of {', '.join(self.choices)}"] if listed else []
        notes += [] if self.default_text is None else [f"default: {self.default_text}"]
        return self.help + (f" ({'; '.join(notes)})" if notes else "")

    def shown(self, value: Any) -> str:
        """``value`` as it is written on the command line."""
        if self.many:
            return (" " if self.spaced else ",").join(self._word(one) for one in value)
        return self._word(value)

    def _word(self, value: Any) -> str:
        for word, meant in (self.words or {}).items():
            if meant == value:
                return word
        return f"{value:g}" if isinstance(value, float) else str(value)


class Details(TypedDict, total=False):
    """What else a setting may say; each is the field of `Setting` with this name."""

    unit: str
    none: str
    choices: tuple[str, ...]
    flag: str
    aliases: tuple[str, ...]
    metavar: str
    group: str
    minimum: float
    maximum: float
    above: float
    below: float
    positional: bool
    spaced: bool
    words: Mapping[str, Any]
    numbers: bool
    kept: bool
    place: Place
    files: bool
    proven: bool


def setting(default: Any = MISSING, *, help: str, **details: Unpack[Details]) -> Any:
    """A dataclass field that is a setting.

    Args:
        default: Without one the setting must be given.
        help: One line, without default and unit: they are added.
        **details: Fields of `Setting`. Choices of a Literal, a flag that is the name with dashes
            (without ``_px`` and ``_s``), and the ``group`` of the class need not be said.

    Returns:
        A field for a frozen dataclass; the setting has the type of its annotation.
    """
    return dataclasses.field(default=default, metadata={SETTING: {"help": help, **details}})


def part(
    kind: type[Any],
    *,
    without: tuple[str, ...] = (),
    changed: Mapping[str, Mapping[str, Any]] | None = None,
    group: str | None = None,
    nested: bool = False,
    **defaults: Any,
) -> Any:
    """A dataclass field that holds settings of the dataclass ``kind``.

    Args:
        kind: The class of the part; every setting of it needs a default.
        without: Names of settings that this request does not offer; they keep their defaults.
        changed: Setting name → what is different here, by keyword of `setting`.
        group: Heading of all its settings, where it is not that of ``kind``.
        nested: Records keep it under its own key; otherwise its settings stand among the others.
        **defaults: Defaults of this request, by the name of the setting (of ``kind`` itself).
    """
    metadata = {
        "kind": kind,
        "without": frozenset(without),
        "changed": {name: dict(values) for name, values in (changed or {}).items()},
        "group": group,
        "nested": nested,
    }
    return dataclasses.field(default=kind(**defaults), metadata={PART: metadata})


def flat_settings(kind: type[Any]) -> tuple[Setting, ...]:
    """Every setting of a request, those of its parts in their place; names are unique."""
    key: Any = kind
    return _flat(key)


@cache
def _flat(kind: Any) -> tuple[Setting, ...]:
    found = tuple(_settings_of(kind))
    names = [one.name for one in found]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise TypeError(f"{kind.__name__} has two settings called {', '.join(sorted(twice))}")
    return found


def _settings_of(kind: type[Any]) -> Iterator[Setting]:
    hints = get_type_hints(kind)
    heading = getattr(kind, "group", "options")
    for field in dataclasses.fields(kind):
        if (inner := field.metadata.get(PART)) is not None:
            for one in _settings_of(inner["kind"]):
                if one.name not in inner["without"]:
                    yield _moved(one, field, inner)
        elif (given := field.metadata.get(SETTING)) is not None:
            yield _leaf(field, hints[field.name], given, heading)
        else:
            raise TypeError(f"{kind.__name__}.{field.name} is neither a setting nor a part")


def _moved(one: Setting, field: dataclasses.Field[Any], inner: Mapping[str, Any]) -> Setting:
    """A part's setting as one of the request that holds the part in ``field``."""
    default = field.default
    for name in one.path:
        default = getattr(default, name)
    changes: dict[str, Any] = {"path": (field.name, *one.path)}
    if not one.required:
        changes["default"] = getattr(default, one.name)
    if inner["group"] is not None:
        changes["group"] = inner["group"]
    return dataclasses.replace(one, **changes, **inner["changed"].get(one.name, {}))


def _leaf(
    field: dataclasses.Field[Any], annotation: Any, given: Mapping[str, Any], heading: str
) -> Setting:
    optional, many, item, choices = _shape(annotation)
    flag = "--" + _trimmed(field.name).replace("_", "-")
    return Setting(
        name=field.name,
        path=(),
        annotation=annotation,
        item=item,
        many=many,
        optional=optional,
        default=field.default,
        **{"flag": flag, "group": heading, "choices": choices, **given},
    )


def _trimmed(name: str) -> str:
    """Units are part of names, and not of flags."""
    return name.removesuffix("_px").removesuffix("_s")


def _shape(annotation: Any) -> tuple[bool, bool, Any, tuple[str, ...]]:
    """Whether None is allowed, whether it is a tuple, the type of a value, a Literal's words."""
    optional = many = False
    if get_origin(annotation) in (Union, UnionType):
        members = [one for one in get_args(annotation) if one is not NoneType]
        optional = len(members) < len(get_args(annotation))
        if len(members) != 1:
            raise TypeError(f"a setting has one type, not {annotation}")
        annotation = members[0]
    if get_origin(annotation) is tuple:
        many, annotation = True, get_args(annotation)[0]
    if get_origin(annotation) is Literal:
        return optional, many, str, get_args(annotation)
    if annotation not in (bool, int, float, str, Path):
        raise TypeError(f"a setting cannot be a {annotation}")
    return optional, many, annotation, ()


def all_settings(kind: type[Any]) -> Iterator[Setting]:
    """As `flat_settings`, with those that a part is ``without``: records have them."""
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if (inner := field.metadata.get(PART)) is not None:
            yield from all_settings(inner["kind"])
        else:
            yield _leaf(field, hints[field.name], field.metadata[SETTING], "")
