"""``metrics.json`` under Detectron2's names, TensorBoard events, and the curves as a picture."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any

from torch import Tensor

from harness.files.json import dumps

METRICS = "metrics.json"

#: Iterations between two lines, and over which their medians are taken (EventStorage, 20).
PERIOD = 20

#: Written as their last value; everything else as the median of its period.
INSTANT = ("lr",)


class TrainingLog:
    """One line of JSON every PERIOD iterations, and one an evaluation; appended when resumed.

    Lines after ``begun`` (finished iterations at the start) are of a life that was lost: they are
    cut off, so that every iteration is told once.
    """

    def __init__(self, folder: Path, begun: int) -> None:
        self._path = folder / METRICS
        _keep_until(self._path, begun)
        self._file = self._path.open("a", encoding="utf-8")
        self._window: dict[str, list[float]] = defaultdict(list)
        self._board = _board(folder / "tensorboard", begun)

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()

    def add(
        self, iteration: int, values: Mapping[str, Tensor | float], *, last: bool = False
    ) -> dict[str, float] | None:
        """Book one iteration; the line that was written when it ends a period or the training."""
        for name, value in values.items():
            self._window[name].append(float(value))
        if iteration % PERIOD and not last:
            return None
        line = {
            name: found[-1] if name in INSTANT else median(found)
            for name, found in self._window.items()
        }
        self._window.clear()
        self.write(iteration, line)
        return line

    def write(self, iteration: int, values: Mapping[str, float | None]) -> None:
        """One line of its own."""
        self._file.write(dumps({"iteration": iteration, **values}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                if value is not None:
                    self._board.add_scalar(name, value, iteration)


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Every whole line of a run's ``metrics.json``, in order."""
    lines = []
    with suppress(FileNotFoundError), (folder / METRICS).open(encoding="utf-8") as file:
        for text in file:
            if text.endswith("\n"):
                lines.append(json.loads(text))
    return lines


def _keep_until(path: Path, iteration: int) -> None:
    kept = [line for line in read_log(path.parent) if line["iteration"] <= iteration]
    path.write_text("".join(dumps(line) + "\n" for line in kept), encoding="utf-8")


def _board(folder: Path, begun: int) -> Any:
    """A writer of TensorBoard events; None where the tensorboard package is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=begun + 1)
