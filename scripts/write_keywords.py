"""Write ``harness/core/requests/keywords.py``: the keywords of the Python API for type checkers.

    python scripts/write_keywords.py

Names, types and defaults of the settings are read from the requests; run it again after a change of
one (`make schema` does). A test fails where the file is not what this program writes.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from harness.api import NOT_TAKEN, REQUESTS  # noqa: E402
from harness.core.settings import Setting, flat_settings  # noqa: E402

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
    return "\n\n".join([HEAD, *(_class(name) for name in REQUESTS)]) + "\n"


def _class(function: str) -> str:
    words = "".join(word.capitalize() for word in function.split("_"))
    lines = [
        f"class {words}Settings(TypedDict, total=False):",
        f'    """Keywords of `{function}`, those of `{REQUESTS[function].__name__}`."""',
    ]
    for one in flat_settings(REQUESTS[function]):
        if not one.positional and one.name not in NOT_TAKEN.get(function, ()):
            lines += ["", *_key(one)]
    return "\n".join(lines)


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
