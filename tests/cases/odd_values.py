"""Values that programs and people put where another was meant, and files with some of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

ODD = (
    *(None, True, False, 0, 1, -1, 2, 1.5, -0.0, 1e200, 10**30, 2**63, float("nan"), float("inf")),
    *("", " ", "1", "2.5", "-3", "x", "true", "nan", "猫", "\ud800", "a\0b", "a\nb", "x" * 400),
    *([], {}, [1], [[]], [[1, 1, 5, 5]], [["1"]], {"a": 1}, "../a.jpg", "day2/a.jpg", "A.JPG"),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths to everything in parsed JSON."""
    if path:
        yield path
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, one in inner:
        yield from places(one, (*path, key))


@st.composite
def damaged(draw: st.DrawFn, content: Any) -> Any:
    """The content with some values replaced by odd ones, removed, or there twice."""
    found = copy.deepcopy(content)
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(list(places(found))))
        inside = found
        for key in path[:-1]:
            inside = inside[key]
        match draw(st.sampled_from(("replace", "replace", "replace", "remove", "repeat"))):
            case "remove":
                del inside[path[-1]]
            case "repeat" if isinstance(inside, list):
                inside.insert(path[-1], copy.deepcopy(inside[path[-1]]))
            case _:
                inside[path[-1]] = copy.deepcopy(draw(st.sampled_from(ODD)))
        if not list(places(found)):
            break
    return found
