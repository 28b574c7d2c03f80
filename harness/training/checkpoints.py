"""Checkpoints a run continues from: everything an iteration depends on, with a checksum.

Order, augmentation and sampling are functions of the seed and the iteration, so the iteration is
their state. Weights for use elsewhere are written as ``.safetensors`` under the zoo's keys. A
checkpoint is due by time, and not after every few iterations.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import torch

from harness.core.errors import AnotherRunError, IntegrityError, RunFailedError, UsageError
from harness.core.printable import printable
from harness.core.requests.training import TrainRequest
from harness.core.settings import identity_defaults
from harness.data.run_dataset import SIZES, TIMES
from harness.files.atomic import replacing, write_text
from harness.files.json import differences
from harness.nn.dense import mean_positives_of, remember_mean_positives
from harness.nn.torchvision_training import without_counters
from harness.training.plan import LEAST_BETWEEN_CHECKPOINTS
from harness.training.step import Trainer
from harness.zoo.weights import write_checkpoint

FORMAT = 2

#: What a checkpoint of this format has.
KEYS = {"identity", "facts", "iteration", "network", "optimiser", "scaler", "average"}

#: Of a file of checksums, what is read: two lines have a fifth of that.
SUMS_BYTES = 1000

#: In an identity: in how many parts a batch is computed.
PARTS = "accumulate"

#: Checkpoints kept beside the best one.
KEPT = 2


def save(folder: Path, trainer: Trainer, identity: dict[str, Any], facts: dict[str, Any]) -> Path:
    """Save a checkpoint with its checksum, and remove all but the last KEPT.

    Args:
        folder: Folder of the checkpoints.
        trainer: What is saved.
        identity: What must be equal in a run that continues.
        facts: What else such a run restores.

    Returns:
        The checkpoint, ``iteration-N.pth``; its sha256 is in ``iteration-N.pth.sha256``.

    Raises:
        RunFailedError: The disk is full, or fails otherwise; earlier checkpoints are kept.
    """
    path = folder / f"iteration-{trainer.iteration:07d}.pth"
    content = {
        "format": FORMAT,
        "identity": identity,
        "facts": facts,
        "iteration": trainer.iteration,
        "network": trainer.network.state_dict(),
        "optimiser": trainer.optimiser.state_dict(),
        "scaler": trainer.scaler.state_dict(),
        "mean_positives": mean_positives_of(trainer.network),
        "average": None if trainer.average is None else trainer.average.state(),
    }
    with failing_disk(path):
        folder.mkdir(parents=True, exist_ok=True)
        before = _expected(path) if path.exists() else ()
        with replacing(path) as temporary:
            digest = _write(temporary, content)
            # First, so that a checkpoint is never taken for one of a version without checksums; and
            # beside that of the checkpoint of the same iteration which this one takes the place of.
            _write_sums(path, digest, *before)
        if before:
            _write_sums(path, digest)
    kept = [one for one in checkpoints(folder) if one <= path][-KEPT:]
    for other in checkpoints(folder):
        if other not in kept:  # too old, or of iterations that a damaged checkpoint lost
            other.unlink(missing_ok=True)
            _sum_of(other).unlink(missing_ok=True)
    return path


class _Hashing:
    """A file that hashes what is written to it, and keeps the error of a failed write."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, content: Any) -> int:
        """Write ``content`` and add it to the hash."""
        try:
            written = self._file.write(content)
        except OSError as error:
            self.error = error
            raise
        self.digest.update(content)
        return written

    def flush(self) -> None:
        """Pass everything to the operating system."""
        self._file.flush()


def _write(path: Path, content: dict[str, Any]) -> str:
    """Write a checkpoint and return its sha256.

    Raises:
        OSError: A write failed; torch would raise another error, without the reason.
    """
    with path.open("wb") as file:
        hashing = _Hashing(file)
        try:
            torch.save(content, hashing)  # type: ignore[arg-type]  # what it needs of a file
        except Exception:
            if hashing.error is not None:
                raise hashing.error from None
            raise
    return hashing.digest.hexdigest()


@contextmanager
def failing_disk(path: Path) -> Iterator[None]:
    """Turn failures of the disk in the block into errors that say what is kept.

    Args:
        path: What is written.

    Raises:
        RunFailedError: Nothing could be written to ``path``.
    """
    try:
        yield
    except OSError as error:
        raise _unsaved(path, error) from error
    except UsageError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        raise _unsaved(path, error.__cause__) from error.__cause__


def _unsaved(path: Path, error: OSError) -> RunFailedError:
    return RunFailedError(
        f"cannot write {error.filename or path}: {error.strerror or error}",
        hint="what was saved before is kept: make room, or make the folder writable",
    )


def _sum_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _write_sums(path: Path, *digests: str) -> None:
    write_text(_sum_of(path), "".join(f"{digest}  {path.name}\n" for digest in digests))


def checkpoints(folder: Path) -> list[Path]:
    """Return all checkpoints of a run, oldest first."""
    return sorted(folder.glob("iteration-*.pth"))


def resume(
    folder: Path,
    trainer: Trainer,
    identity: dict[str, Any],
    *,
    notice: Callable[[str], None] = lambda _: None,
    notes: list[str] | None = None,
) -> dict[str, Any]:
    """Bring ``trainer`` to the newest checkpoint that is not damaged.

    Args:
        folder: Folder of the checkpoints.
        trainer: At iteration 0; it is changed.
        identity: What must be equal in the saved training.
        notice: Called with a sentence for each damaged checkpoint that is passed over.
        notes: Receives a sentence where the parts of a batch are others than before.

    Returns:
        The facts that were saved with it.

    Raises:
        UsageError: There is no checkpoint.
        IntegrityError: All are damaged, or they belong to another training.
    """
    found = checkpoints(folder)
    if not found:
        raise UsageError(f"nothing to resume: no checkpoint in {folder}", hint="leave out --resume")
    faults = []
    for path in reversed(found):
        try:
            content = _read(path, trainer.device, notice)
            require_same(content["identity"], identity, folder, notice)
            facts = _restore(trainer, content)
        except AnotherRunError:
            raise
        except Exception as error:  # of torch on damaged bytes, and of tables that lack something
            reason = error.message if isinstance(error, IntegrityError) else _short(error)
            faults.append(f"{path.name} is damaged: {reason}")
            notice(f"{faults[-1]}; the one before it is used")
        else:
            if notes is not None:
                notes += _other_parts(content["identity"], identity, trainer.iteration)
            return facts
    raise IntegrityError(
        f"no checkpoint in {folder} can be read:\n  " + "\n  ".join(faults),
        hint="start again in another --output",
    )


def _restore(trainer: Trainer, content: dict[str, Any]) -> dict[str, Any]:
    """Set the state of ``trainer``, and return the facts saved with it."""
    facts: dict[str, Any] = content["facts"]
    iteration = content["iteration"]
    if type(iteration) is not int or not isinstance(facts, dict):
        raise IntegrityError("it has no iteration and facts")
    trainer.network.load_state_dict(content["network"])
    trainer.optimiser.load_state_dict(content["optimiser"])
    trainer.scaler.load_state_dict(content["scaler"])
    if trainer.average is not None:
        trainer.average.restore(content["average"])
    remember_mean_positives(trainer.network, content.get("mean_positives"))
    trainer.iteration = iteration
    return facts


def _short(error: Exception) -> str:
    """Return type and first line of an error, bounded."""
    return f"{type(error).__name__}: {printable(str(error).partition(chr(10))[0][:200])}"


def write_weights(path: Path, trainer: Trainer) -> None:
    """Write the weights under the zoo's keys: the moving average's, if the training keeps one.

    Args:
        path: A ``.safetensors`` file.
        trainer: Whose network it is.

    Raises:
        RunFailedError: The disk is full, or fails otherwise.
    """
    tensors: dict[str, npt.NDArray[np.float32]] = {
        key: value.detach().float().cpu().contiguous().numpy()
        for key, value in without_counters(trainer.network.state_dict()).items()
    }
    if trainer.average is not None:
        for key, value in trainer.average.average.items():
            tensors[key] = value.detach().float().cpu().contiguous().numpy()
    with failing_disk(path):
        write_checkpoint(path, tensors, trainer.statement)


def _read(path: Path, device: torch.device, notice: Callable[[str], None]) -> dict[str, Any]:
    """Read a checkpoint after its checksum was compared.

    Raises:
        IntegrityError: The checksum differs, or the content is not that of a checkpoint.
    """
    with path.open("rb") as file:
        expected = _expected(path)
        if not expected:
            notice(f"{path.name} has no checksum (an older version wrote it): it is used as it is")
        elif (found := _digest(file)) not in expected:
            raise IntegrityError(f"expected sha256 {' or '.join(expected)}, found {found}")
        file.seek(0)
        content = torch.load(file, map_location=device, weights_only=True)
    if not isinstance(content, dict):
        raise IntegrityError(f"it holds {type(content).__name__}, not a table")
    if content.get("format") != FORMAT:
        raise IntegrityError(f"its format is {content.get('format')}, expected {FORMAT}")
    missing = sorted(KEYS - content.keys())
    if missing or not isinstance(content["identity"], dict):
        raise IntegrityError(f"it lacks {', '.join(missing) or 'an identity'}")
    return content


def _expected(path: Path) -> tuple[str, ...]:
    """Return each sha256 that a checkpoint may have; none for one of an older version.

    They are two while one takes the place of another, or when that was cut short.
    """
    try:
        with _sum_of(path).open(encoding="utf-8", errors="replace") as file:
            text = file.read(SUMS_BYTES)
    except FileNotFoundError:
        return ()
    return tuple(line.partition(" ")[0] for line in text.splitlines() or [""])


def _digest(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while piece := file.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()


def require_same(
    found: dict[str, Any],
    expected: dict[str, Any],
    folder: Path,
    notice: Callable[[str], None],
) -> None:
    """Compare the identities of two trainings.

    Times of modification of the images are no reason to refuse: a copy need not keep them. Nor is
    the number of parts in which a batch is computed, so that a training continues whose memory ran
    out: the batches are the same.

    Raises:
        AnotherRunError: They differ; the message says in what.
    """
    added = {name: value for name, value in expected.items() if name in (SIZES, TIMES)}
    # What was saved before a setting existed had its default; the images' state is not known then.
    found = {**identity_defaults(TrainRequest), **added, **found}
    if found[TIMES] != expected[TIMES]:
        notice(
            "images of the training set have other times of modification than when it began: if "
            "they are other images, begin again in another --output"
        )
    freed = {name: found[name] for name in (TIMES, PARTS)}
    differing = differences(found, {**expected, **freed})
    if differing:
        raise AnotherRunError(
            f"{folder} belongs to another training:\n  " + "\n  ".join(differing),
            hint="use its settings and its images, or choose another --output",
        )


def _other_parts(found: dict[str, Any], identity: dict[str, Any], iteration: int) -> list[str]:
    """Return what is to be said of a checkpoint whose batches were computed in other parts."""
    before, now = found.get(PARTS, 1), identity[PARTS]
    if before == now:
        return []
    return [
        f"iterations up to {iteration} were computed with --accumulate {before}, those after it "
        f"with {now}: the same batches, summed up in other parts"
    ]


#: Seconds between two checkpoints.
PERIOD_S = 600.0


class CheckpointClock:
    """Knows when the last checkpoint was saved, and whether another one is due."""

    def __init__(self, every: int | None, iteration: int, clock: Callable[[], float]) -> None:
        """Begin at the start of a training, or where one continues.

        Args:
            every: Iterations between two checkpoints; None for PERIOD_S, and at least
                LEAST_BETWEEN_CHECKPOINTS iterations.
            iteration: Iteration of the start.
            clock: Returns seconds.
        """
        self._every = every
        self._clock = clock
        self._iteration = iteration
        self._begun_s = clock()

    def saved(self, iteration: int) -> None:
        """Remember that the checkpoint of ``iteration`` was saved now."""
        self._iteration = iteration
        self._begun_s = self._clock()

    def is_due(self, iteration: int) -> bool:
        """Return whether a checkpoint follows ``iteration``."""
        if self._every is not None:
            return iteration % self._every == 0
        return self.is_far(iteration) and self._clock() - self._begun_s >= PERIOD_S

    def is_far(self, iteration: int) -> bool:
        """Return whether enough iterations would be lost to save before something long."""
        return iteration - self._iteration >= LEAST_BETWEEN_CHECKPOINTS

    def is_saved(self, iteration: int) -> bool:
        """Return whether the last checkpoint is that of ``iteration``."""
        return iteration == self._iteration
