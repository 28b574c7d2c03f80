"""``metrics.json`` under Detectron2's names, TensorBoard events, and the best evaluation so far."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import NoneType, TracebackType
from typing import TYPE_CHECKING, Any

from harness.core.errors import IntegrityError, UsageError
from harness.core.printable import printable
from harness.core.requests.training import BestBy
from harness.files.atomic import open_to_append, write_text
from harness.files.json import dumps
from harness.measure.curve_band import FEWEST_LINES

if TYPE_CHECKING:
    from torch import Tensor

METRICS = "metrics.json"

#: Checksums of its lines, one a line; of any order, and of lines that are no longer there as well.
SUMS = "metrics.json.sums"

#: Iterations between two lines, and over which their medians are taken (EventStorage, 20).
PERIOD = 20

#: Bytes at the end of a log that contain its newest lines.
TAIL_BYTES = 1 << 16

#: Written as their last value; everything else as the median of its period.
INSTANT = ("lr",)


class TrainingLog:
    """One line of JSON every PERIOD iterations, and one an evaluation; continued when resumed.

    Attributes:
        earlier: The lines that were in the file and are kept.
    """

    def __init__(
        self,
        folder: Path,
        begun: int,
        evaluated: int,
        written: Callable[[Mapping[str, Any]], None],
    ) -> None:
        """Open the log, and remove lines after the checkpoint: their iterations are repeated.

        Args:
            folder: The run folder.
            begun: Iterations that were finished at the start.
            evaluated: Iteration of the last evaluation before the start.
            written: Called with every new line.

        Raises:
            IntegrityError: The log has a line that a training cannot have written.
        """
        self._path = folder / METRICS
        self._written = written
        self.earlier = _keep_until(self._path, begun, evaluated)
        self._file = open_to_append(self._path)
        self._sums = open_to_append(folder / SUMS)
        self._window: dict[str, list[float]] = defaultdict(list)
        self._last: dict[str, float] = {}
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
        self._sums.close()
        if self._board is not None:
            self._board.close()

    def add(
        self, iteration: int, values: Mapping[str, Tensor | float], *, last: bool = False
    ) -> dict[str, float] | None:
        """Record one iteration.

        Args:
            iteration: From 1.
            values: Losses and statistics by name.
            last: Whether it is the last of the training.

        Returns:
            The line that was written, at the end of a period or of the training; otherwise None.
        """
        for name, value in values.items():
            self._window[name].append(float(value))
        if iteration % PERIOD and not last:
            return None
        line = {
            name: found[-1] if name in INSTANT else median(found)
            for name, found in self._window.items()
        }
        self._window.clear()
        self._last = line
        self.write(iteration, line)
        return line

    def recent(self, name: str) -> float:
        """Return the median of a value since the last line; its last one right after a line."""
        return median(self._window.get(name) or [self._last.get(name, float("nan"))])

    def write(self, iteration: int, values: Mapping[str, float | None]) -> None:
        """Write a line of its own, for instance of an evaluation.

        Args:
            iteration: From 1.
            values: Numbers by name; None where one is undefined.
        """
        line = {"iteration": iteration, **values}
        text = dumps(line)
        for file, content in ((self._sums, _sum_of(text.encode())), (self._file, text)):
            file.write(content + "\n")
            file.flush()
        self._written(line)
        if self._board is not None:
            for name, value in values.items():
                if value is not None:
                    self._board.add_scalar(name, value, iteration)


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Read every whole line of a run's ``metrics.json``, in order.

    Args:
        folder: The run folder; without the file there are no lines.

    Raises:
        IntegrityError: A line is not one that a training wrote.
    """
    path = folder / METRICS
    try:
        whole = path.read_bytes()
    except FileNotFoundError:
        return []
    sums = _read_sums(folder)
    return [
        _line_of(path, f"line {number}", text, sums)
        for number, text in enumerate(whole.split(b"\n")[:-1], start=1)
    ]


def _read_sums(folder: Path) -> frozenset[str] | None:
    """Return the checksums of a log's lines; None where an older version wrote it."""
    try:
        return frozenset((folder / SUMS).read_text(encoding="ascii", errors="replace").split())
    except FileNotFoundError:
        return None


def _sum_of(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()[:16]


def _line_of(path: Path, where: str, text: bytes, sums: frozenset[str] | None) -> dict[str, Any]:
    """Return the content of one line.

    Args:
        path: The log.
        where: The line, for errors.
        text: Without its end.
        sums: Checksums of the lines that were written; None where they are not known.

    Raises:
        IntegrityError: A training cannot have written it, or it was changed since.
    """
    try:
        line = json.loads(text)
    except (ValueError, RecursionError) as error:
        fault = str(error)
    else:
        fault = _fault_of(line)
        if not fault and sums is not None and _sum_of(text) not in sums:
            fault = f"its checksum is not in {SUMS}"
        if not fault:
            found: dict[str, Any] = line
            return found
    raise IntegrityError(
        f"{path} is damaged in {where}: {printable(fault[:200])}",
        hint="remove that line, or move the file away: a training continues without its "
        "earlier curve",
    )


def _fault_of(line: Any) -> str:
    """Return what is wrong with a parsed line; an empty text when nothing is."""
    if not isinstance(line, dict):
        return f"it is {type(line).__name__}, not a table of numbers"
    if type(line.get("iteration")) is not int:
        return "it names no iteration"
    odd = [name for name, value in line.items() if type(value) not in (int, float, NoneType)]
    return f"{odd[0]} is not a number" if odd else ""


def read_curve(path: Path) -> tuple[dict[str, Any], ...]:
    """Read the lines of an earlier training's ``metrics.json``.

    Args:
        path: The file.

    Raises:
        UsageError: It cannot be read.
        IntegrityError: It is not such a file, or has too few losses.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise UsageError(f"cannot read the curve {path}: {reason}") from error
    try:
        lines = [json.loads(line) for line in text.splitlines() if line.strip()]
        losses = sum("total_loss" in line and line["iteration"] > 0 for line in lines)
        faults = [fault for line in lines if "iteration" in line and (fault := _fault_of(line))]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise IntegrityError(f"{path} is not the metrics.json of a training: {error}") from error
    if faults:
        raise IntegrityError(f"{path} is not the metrics.json of a training: {faults[0]}")
    if losses < FEWEST_LINES:
        raise IntegrityError(
            f"{path} has {losses} lines with a total_loss; expected {FEWEST_LINES} or more",
            hint="give the metrics.json that Detectron2, or harness train, left",
        )
    return tuple(line for line in lines if "iteration" in line)


@dataclass(frozen=True, slots=True, kw_only=True)
class LastIteration:
    """The newest line with losses."""

    iteration: int
    """From 1."""

    total_loss: float
    """Median of its period."""

    learning_rate: float
    """Of the iteration."""

    seconds: float
    """Of one iteration, loading included; median of its period."""


def last_iteration(folder: Path) -> LastIteration | None:
    """Return how far a training is.

    Args:
        folder: The run folder.

    Returns:
        The newest line with losses; None before the first.

    Raises:
        IntegrityError: A line is not one that a training wrote.
    """
    with suppress(FileNotFoundError), (folder / METRICS).open("rb") as file:
        # A line is about a kilobyte; there are lines of evaluations among those of losses.
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
        for text in reversed(file.read().splitlines(keepends=True)):
            if text.startswith(b"{") and text.endswith(b"\n"):
                sums = _read_sums(folder)
                line = _line_of(folder / METRICS, "its last lines", text[:-1], sums)
                if {"total_loss", "lr", "time"} <= line.keys():
                    return LastIteration(
                        iteration=line["iteration"],
                        total_loss=line["total_loss"],
                        learning_rate=line["lr"],
                        seconds=line["time"],
                    )
    return None


def _keep_until(path: Path, begun: int, evaluated: int) -> list[dict[str, Any]]:
    """Remove from the file what follows the last checkpoint, and return the lines that are kept."""
    kept = [
        line
        for line in read_log(path.parent)
        if line["iteration"] <= (begun if "total_loss" in line else evaluated)
    ]
    lines = [dumps(line) for line in kept]
    known = [*(_read_sums(path.parent) or ()), *(_sum_of(line.encode()) for line in lines)]
    # First, and with those of the lines that are removed next.
    write_text(path.with_name(SUMS), "".join(f"{one}\n" for one in dict.fromkeys(known)))
    write_text(path, "".join(f"{line}\n" for line in lines))
    return kept


def _board(folder: Path, begun: int) -> Any:
    """Return a writer of TensorBoard events; None where the package is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=begun + 1)


@dataclass(slots=True, kw_only=True)
class Best:
    """The best evaluation so far."""

    value: float = -math.inf
    """Its metric, as ``selection_metric`` returns it; minus infinity before the first."""

    iteration: int = 0
    """Its iteration."""

    evaluated: int = -1
    """Iteration of the last evaluation, best or not; -1 before the first."""


#: What the numbers end in whose mean chooses the best weights: AP, and PQ of maps of segments.
CHOSEN_BY = ("/AP", "/PQ")


def selection_metric(
    best_by: BestBy, losses: Mapping[str, float], scores: Mapping[str, float]
) -> float:
    """Return the metric by which evaluations are compared; higher is better.

    Args:
        best_by: What the metric is.
        losses: Mean losses of the validation images by name.
        scores: Numbers of the evaluation by name.

    Returns:
        The negated total loss, or the mean of the APs, with PQ of maps (0 to 100; -1 where there
        is none).
    """
    if best_by == "loss":
        return -losses["validation/total_loss"]
    main = [value for name, value in scores.items() if name.endswith(CHOSEN_BY)]
    return sum(main) / len(main) if main else -1.0
