"""Write ``harness/core/requests/keywords/``: the keywords of the Python API for type checkers.

    python scripts/write_keywords.py

Names, types and defaults of the settings are read from the requests; run it again after a change of
one (`make schema` does). A test fails where a file is not what this program writes. Each module of
requests has one of keywords with the same name.
"""

from __future__ import annotations

import dataclasses
import re
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from harness.core.requests.signatures import NOT_TAKEN, REQUESTS  # noqa: E402
from harness.core.setting_fields import PART, Setting, flat_settings  # noqa: E402

FOLDER = ROOT / "harness" / "core" / "requests" / "keywords"

#: Of a line.
WIDTH = 100

WRITTEN_BY = """\
Written by ``scripts/write_keywords.py`` from the requests, which define every setting; never
imported when a program runs.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A class of keywords, as it is written."""

    module: str
    """Name of its module, that of the class whose settings it has."""

    text: str
    """The definition."""

    bases: tuple[str, ...]
    """Classes of keywords that it inherits from."""


def main() -> None:
    """Write the files and remove those that are none of them."""
    files = texts()
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.py"):
        if path.name not in files:
            path.unlink()
    for name, text in files.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


def texts() -> dict[str, str]:
    """File name → the whole file."""
    written = _classes()
    modules = sorted({one.module for one in written.values()})
    files = {f"{module}.py": _module(module, written) for module in modules}
    lines = [
        f"from harness.core.requests.keywords.{one.module} import {name} as {name}"
        for name, one in sorted(written.items(), key=lambda item: (item[1].module, item[0]))
        if name.endswith("Settings")
    ]
    title = '"""Keywords of the Python API for type checkers and editors.\n\n' + WRITTEN_BY + '"""'
    files["__init__.py"] = "\n".join([title, "", *lines, ""])
    return files


def _module(module: str, written: dict[str, Written]) -> str:
    """The file of one module, with the imports that it needs."""
    own = {name: one for name, one in written.items() if one.module == module}
    body = "".join(f"\n\n{one.text}\n" for one in own.values())
    standard = {
        "Iterable": "from collections.abc import Iterable",
        "Path": "from pathlib import Path",
    }
    imports = [line for word, line in standard.items() if re.search(rf"\b{word}\b", body)]
    typing = [word for word in ("Literal", "TypedDict") if re.search(rf"\b{word}\b", body)]
    if typing:
        imports.append(f"from typing import {', '.join(typing)}")
    foreign: dict[str, set[str]] = {}
    for base in {base for one in own.values() for base in one.bases} - own.keys():
        foreign.setdefault(written[base].module, set()).add(base)
    blocks = ["\n".join(imports)] if imports else []
    if "Required[" in body:
        blocks.append("from typing_extensions import Required")
    if foreign:
        blocks.append("\n".join(_import(name, foreign[name]) for name in sorted(foreign)))
    title = f'"""Keywords of the Python API: settings of ``{module}``.\n\n{WRITTEN_BY}"""'
    head = "\n\n".join([title, "from __future__ import annotations", *blocks])
    return f"{head}\n{body}"


def _import(module: str, names: set[str]) -> str:
    first = f"from harness.core.requests.keywords.{module} import "
    line = first + ", ".join(sorted(names))
    if len(line) <= WIDTH:
        return line
    return "\n".join([first + "(", *(f"    {name}," for name in sorted(names)), ")"])


def _classes() -> dict[str, Written]:
    """Name → class of keywords, each after those it inherits from."""
    written: dict[str, Written] = {}
    seen: list[tuple[type[Any], set[str]]] = []
    for function, kind in REQUESTS.items():
        words = "".join(word.capitalize() for word in function.split("_"))
        offered = {
            one.name: one
            for one in flat_settings(kind)
            if not one.positional and one.name not in NOT_TAKEN.get(function, ())
        }
        if (kind, set(offered)) in seen:  # another function takes the same
            continue
        seen.append((kind, set(offered)))
        described = f"Keywords of `{function}`, those of `{kind.__name__}`."
        _add(f"{words}Settings", described, kind, offered, written)
    return written


def _add(
    name: str,
    described: str,
    kind: type[Any],
    offered: dict[str, Setting],
    written: dict[str, Written],
) -> None:
    """Write a class after those of the parts that it takes whole; these are written once."""
    parts = _whole_parts(kind, offered)
    for part in parts:
        if _keys_of(part) not in written:
            settings = {one.name: one for one in flat_settings(part)}
            _add(_keys_of(part), f"Keywords of `{part.__name__}`.", part, settings, written)
    inherited = {one.name for part in parts for one in flat_settings(part)}
    keys = [_keys_of(part) for part in parts]
    bases = [*(keys or ["TypedDict"]), "total=False"]
    first = f"class {name}({', '.join(bases)}):"
    if len(first) > WIDTH:
        first = "\n".join([f"class {name}(", *(f"    {base}," for base in bases), "):"])
    lines = [first, f'    """{described}"""']
    for key, one in offered.items():
        if key not in inherited:
            lines += ["", *_key(one)]
    module = kind.__module__.rpartition(".")[2]
    written[name] = Written(module=module, text="\n".join(lines), bases=tuple(keys))


def _whole_parts(kind: type[Any], offered: dict[str, Setting]) -> list[type[Any]]:
    """The parts of a request that are offered whole and as they are; else the parts of these."""
    found: list[type[Any]] = []
    for field in dataclasses.fields(kind):
        if field.metadata.get(PART) is None:
            continue
        part = type(field.default)
        settings = flat_settings(part)
        same = [one.name in offered and _key(one) == _key(offered[one.name]) for one in settings]
        found += [part] if all(same) else _whole_parts(part, offered)
    return found


def _keys_of(part: type[Any]) -> str:
    return f"{part.__name__}Keys"


def _key(one: Setting) -> list[str]:
    kind = _written(one.annotation)
    if one.required:
        kind = f"Required[{kind}]"
    if len(f"    {one.name}: {kind}") > WIDTH:
        inside = ", ".join(repr(one).replace(chr(39), chr(34)) for one in one.choices)
        kind = _broken(one, inside)
    described = one.description[0].upper() + one.description[1:]
    told = textwrap.wrap(f'"""{described}."""', width=96, break_on_hyphens=False)
    return [f"    {one.name}: {kind}", *(f"    {line}" for line in told)]


def _broken(one: Setting, inside: str) -> str:
    """A Literal, or many of one, that is too long for a line, as the formatter breaks it.

    Args:
        one: The setting.
        inside: Its words.
    """
    indent, most = (
        " " * (12 if one.many else 8),
        f"        {'Literal[]' if one.many else ''}{inside}",
    )
    if len(most) > WIDTH:
        lines = ",\n".join(indent + word for word in inside.split(", "))
        inside = f"\n{lines},\n{indent[4:]}"
    elif not one.many:
        inside = f"\n{indent}{inside}\n{indent[4:]}"
    return f"Iterable[\n        Literal[{inside}]\n    ]" if one.many else f"Literal[{inside}]"


def _written(annotation: Any) -> str:
    """A type as it is written; paths may be texts, and tuples anything that can be iterated."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return " | ".join(_written(one) for one in inner)
    if origin is tuple:
        return f"Iterable[{_written(inner[0])}]"
    if origin is Literal:
        return f"Literal[{', '.join(repr(one).replace(chr(39), chr(34)) for one in inner)}]"
    if annotation is Path:
        return "str | Path"
    return "None" if annotation is NoneType else str(annotation.__name__)


if __name__ == "__main__":
    main()
