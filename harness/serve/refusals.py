"""Requests that get no answer, and what they are told instead: always JSON, always four parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with a request, in the words of its sender.

    expected and found: None where there is nothing to set against each other. next_step: what to
    do now.
    """

    status: int
    what: str
    expected: str | None = None
    found: str | None = None
    next_step: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorAnswer:
    """The body of every answer that is none."""

    error: Fault


class Refusal(Exception):
    """A request that is refused with the HTTP status of its fault.

    headers: more of the answer's.
    """

    def __init__(self, fault: Fault, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(fault.what)
        self.fault = fault
        self.headers = dict(headers or {})


def refused(
    status: int,
    what: str,
    *,
    expected: str | None = None,
    found: str | None = None,
    next_step: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Refusal:
    """A refusal, ready to be raised."""
    fault = Fault(status=status, what=what, expected=expected, found=found, next_step=next_step)
    return Refusal(fault, headers=headers)
