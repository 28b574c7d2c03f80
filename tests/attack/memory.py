"""How much memory Python allocates while something runs."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def traced_memory() -> Iterator[None]:
    """Allocations are traced for a whole module.

    Beginning and ending once for each of thousands of trials crashed Python 3.11 while another
    thread, that of the test processes, was allocating.
    """
    tracemalloc.start()
    yield
    tracemalloc.stop()


class Peak:
    """The most that was allocated at once since this was made."""

    def __init__(self) -> None:
        tracemalloc.reset_peak()
        self._before, _ = tracemalloc.get_traced_memory()

    def require_at_most(self, limit: int) -> None:
        """Check the peak against ``limit``, bytes.

        Raises:
            AssertionError: It was more.
        """
        peak = tracemalloc.get_traced_memory()[1] - self._before
        if peak > limit:
            raise AssertionError(f"{peak:,} bytes were allocated, {limit:,} are allowed")
