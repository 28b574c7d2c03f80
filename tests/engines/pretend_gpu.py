"""Stands for the parts of ``torch.cuda`` that the path without waits uses, on a CPU.

Streams and events do nothing, for a CPU computes in order. A graph remembers that it was made; it
cannot compute again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor


class Nothing:
    """A stream or an event."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def wait_stream(self, _: object) -> None:
        """Do nothing."""

    def record(self, _: object) -> None:
        """Do nothing."""

    def synchronize(self) -> None:
        """Do nothing."""


class Gpu:
    """What happened, and what shall happen.

    Attributes:
        capturing: Whether a graph is being made.
        made: Graphs that were made.
        emptied: How often unused memory was released.
        ending: Raised when a graph that was recorded is made of it.
    """

    def __init__(self) -> None:
        self.capturing = False
        self.made = self.emptied = 0
        self.ending: Exception | None = None

    @contextmanager
    def stream(self, _: object) -> Iterator[None]:
        """Do nothing."""
        yield

    def graph(self) -> Any:
        """A graph."""
        gpu = self

        class Graph:
            def capture_begin(self, **_: object) -> None:
                gpu.capturing = True

            def capture_end(self) -> None:
                if not gpu.capturing:
                    raise RuntimeError("nothing is captured")
                gpu.capturing = False
                if gpu.ending is not None:
                    raise gpu.ending
                gpu.made += 1

            def replay(self) -> None:
                """Do nothing."""

        return Graph()

    def end(self, _: object, __: object) -> None:
        """Fail, as torch does where it keeps no memory for a graph."""
        raise RuntimeError("not currently recording")

    def empty_cache(self) -> None:
        """Count."""
        self.emptied += 1


def unpinned(empty: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """``torch.empty`` where no memory can be pinned."""

    def ordinary(*sizes: Any, **options: Any) -> Tensor:
        options.pop("pin_memory", None)
        return empty(*sizes, **options)

    return ordinary


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    """A GPU of which nothing but its interface is there."""
    pretended = Gpu()
    for name, stand_in in {
        "Stream": Nothing,
        "Event": Nothing,
        "CUDAGraph": pretended.graph,
        "stream": pretended.stream,
        "current_stream": Nothing,
        "graph_pool_handle": tuple,
        "mem_get_info": lambda _: (9, 10),
        "synchronize": lambda _: None,
        "empty_cache": pretended.empty_cache,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", pretended.end)
    monkeypatch.setattr(torch, "empty", unpinned(torch.empty))
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda *_: None)
    return pretended
