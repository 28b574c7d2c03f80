"""Requests out of flat settings, as the command line and the Python API make them."""

from __future__ import annotations

from typing import Any, TypeVar

from harness.core.settings import compose

T = TypeVar("T")


def composed(kind: type[T], **settings: Any) -> T:
    """A request with these settings."""
    return compose(kind, settings)
