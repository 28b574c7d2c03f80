"""The time of the clock on the wall, as run ids, records and logs have it."""

from __future__ import annotations

from datetime import datetime, timezone


def utc_now() -> datetime:
    """The time in UTC, with its zone."""
    return datetime.now(timezone.utc)
