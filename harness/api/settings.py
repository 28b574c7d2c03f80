"""How a function of the API takes the settings of its request.

Apart from `harness.api.calls`, because listing the zoo needs no request and does not wait for their
import.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from harness.api.calls import public
from harness.core.errors import UsageError
from harness.core.requests.signatures import NOT_TAKEN, signed
from harness.core.settings import command_line, compose, keyword_of
from harness.files.layout import default_places

Request = TypeVar("Request")
Taken = ParamSpec("Taken")
Returned = TypeVar("Returned")


def public_with_settings(function: Callable[Taken, Returned]) -> Callable[Taken, Returned]:
    """Make a function one of the API, with the signature of its request's settings."""
    return signed(public(function))


def composed(function: str, kind: type[Request], settings: Mapping[str, Any]) -> Request:
    """The request of a call, every setting checked."""
    for name in NOT_TAKEN.get(function, ()):
        if name in settings:
            raise UsageError(f"{function}() takes no {name!r}")
    return compose(kind, settings, defaults=default_places(), called=keyword_of)


def typed(given: Sequence[str] | None, name: str, request: Any) -> tuple[str, ...]:
    """The command of the record: what was typed, or the command line that does the same."""
    return command_line(name, request) if given is None else tuple(given)
