"""Write ``harness/core/requests/keywords.py``: the keywords of the Python API for type checkers.

    python scripts/write_keywords.py

Names, types and defaults of the settings are read from the requests; run it again after a change of
one (`make schema` does). A test fails where the file is not what this program writes.
"""

from __future__ import annotations

import dataclasses
import sys
import textwrap
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from harness.core.requests.signatures import NOT_TAKEN, REQUESTS  # noqa: E402
from harness.core.setting_fields import PART, Setting, flat_settings  # noqa: E402

FILE = ROOT / "harness" / "core" / "requests" / "keywords.py"

#: Of a line.
WIDTH = 100

HEAD = '''"""Keywords of the Python API for type checkers and editors.

Written by ``scripts/write_keywords.py`` from the requests, which define every setting; never
imported when a program runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, TypedDict

from typing_extensions import Required
'''


def main() -> None:
    """Write the file."""
    FILE.write_text(text(), encoding="utf-8")


def text() -> str:
    """The whole file."""
    written: dict[str, str] = {}
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
    return HEAD + "".join(f"\n\n{one}\n" for one in written.values())


def _add(
    name: str, described: str, kind: type[Any], offered: dict[str, Setting], written: dict[str, str]
) -> None:
    """Write a class after those of the parts that it takes whole; these are written once."""
    parts = _whole_parts(kind, offered)
    for part in parts:
        if _keys_of(part) not in written:
            settings = {one.name: one for one in flat_settings(part)}
            _add(_keys_of(part), f"Keywords of `{part.__name__}`.", part, settings, written)
    inherited = {one.name for part in parts for one in flat_settings(part)}
    bases = [*([_keys_of(part) for part in parts] or ["TypedDict"]), "total=False"]
    first = f"class {name}({', '.join(bases)}):"
    if len(first) > WIDTH:
        first = "\n".join([f"class {name}(", *(f"    {base}," for base in bases), "):"])
    lines = [first, f'    """{described}"""']
    for key, one in offered.items():
        if key not in inherited:
            lines += ["", *_key(one)]
    written[name] = "\n".join(lines)


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
        kind = f"Iterable[\n        Literal[{inside}]\n    ]"
    described = one.description[0].upper() + one.description[1:]
    told = textwrap.wrap(f'"""{described}."""', width=96, break_on_hyphens=False)
    return [f"    {one.name}: {kind}", *(f"    {line}" for line in told)]


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
