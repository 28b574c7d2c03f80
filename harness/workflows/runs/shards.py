"""Predictions on disk, image by image, so that nothing computed is lost.

A shard is a file of JSON lines: first the identity of the run, then one line an image, appended the
moment the image is finished. Each line ends with the key of the run's identity and a checksum
(``sealed_lines``). A process that is killed leaves at most one torn line; opening the shard again
removes it. Damaged lines, and lines of another run, are reported and ignored: their images count
as missing. Merging the shards gives the same bytes however often the run broke, and however many
shards there are: any shard may hold any image.

Trade-off: a line is passed to the operating system at once, so it survives the end of the process,
but it is forced to the disk only every second: after a power cut that second's images are repeated.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

from harness.core.errors import AnotherRunError
from harness.core.run_files import IDENTITY, SHARDS
from harness.files.atomic import replacing
from harness.files.digest import file_digest
from harness.files.json import differences
from harness.files.locks import held
from harness.workflows.runs.checksums import (
    Line,
    SealedFile,
    key_of,
    read_sealed,
    read_sealed_header,
    seal,
    seal_text,
)

#: In a line, what changes when the image's file is replaced. Shards of older versions lack it.
STAMP = "image_file"

#: In a line of a panoptic run, what changes when the image's annotated map is replaced.
MAP_STAMP = "annotated_map"

SYNC_PERIOD_S = 1.0

Notice = Callable[[str], None]


def silent(_: str) -> None:
    """Ignore a notice."""


class SealedLine(NamedTuple):
    """A finished image as its shard has it."""

    image_id: int
    """Of the image."""
    raw: bytes
    """Its whole line."""


class Shard:
    """An open shard.

    Attributes:
        finished: Ids of the images that it has.
        stamps: By image id, the state of the images' files when they were inferred, where known.
        map_stamps: As ``stamps``, of their annotated maps.
    """

    def __init__(self, file: FileIO, key: str, lines: Sequence[Line]) -> None:
        """Continue a shard.

        Args:
            file: Open for appending.
            key: Key of the run.
            lines: The images that it has.
        """
        self._file = file
        self._key = key
        self._synced_s = time.monotonic()
        self.finished: list[int] = [line["image_id"] for line in lines]
        self.stamps = stamps_of(lines)
        self.map_stamps = stamps_of(lines, MAP_STAMP)

    def append(self, line: Line) -> None:
        """Append one finished image; it survives the end of this process when this returns.

        Args:
            line: As ``line_of`` returns it, perhaps with its stamp.
        """
        self.append_sealed(self.sealed(line))

    def sealed(self, line: Line) -> SealedLine:
        """The same line as the shard has it, which any thread may make.

        Args:
            line: As in ``append``.
        """
        return SealedLine(line["image_id"], seal(line, self._key))

    def sealed_text(self, image_id: int, text: bytes) -> SealedLine:
        """As ``sealed``.

        Args:
            image_id: Of the image.
            text: JSON of the line, as ``line_text.text_of`` makes it.
        """
        return SealedLine(image_id, seal_text(text, self._key))

    def append_sealed(self, line: SealedLine) -> None:
        """As ``append``.

        Args:
            line: As returned by ``sealed``.
        """
        _write(self._file, line.raw)
        self.finished.append(line.image_id)
        if time.monotonic() - self._synced_s >= SYNC_PERIOD_S:
            os.fsync(self._file.fileno())
            self._synced_s = time.monotonic()


def shard_path(run_folder: Path, number: int) -> Path:
    """Return the path of shard ``number`` of a run."""
    return run_folder / SHARDS / f"{number:04d}.jsonl"


def shard_paths(run_folder: Path) -> list[Path]:
    """Return all shards that have been begun, in order."""
    return sorted((run_folder / SHARDS).glob("*.jsonl"))


@contextmanager
def open_shard(path: Path, identity: dict[str, Any], *, notice: Notice = silent) -> Iterator[Shard]:
    """Open the shard at ``path``, new or continued; waits for a process that still writes it.

    Damaged lines are removed from the file first. A shard of another run that replaced it is
    renamed to ``*.foreign`` and begun again.

    Args:
        path: The shard.
        identity: What must be equal for a shard to be continued: request, checkpoint, data set.
        notice: Called with a sentence for each damage, and with the process that is waited for.

    Yields:
        The shard, open for appending.

    Raises:
        AnotherRunError: The run was begun with another identity.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with held(lock_of(path), notice=notice):
        key = _require_identity(path.parent, identity, notice)
        lines = _mended(path, identity, key, notice)
        # Unbuffered: a full disk must fail the line that it cuts off, not the closing of the file.
        with FileIO(path, "a") as file:
            yield Shard(file, key, lines)
            os.fsync(file.fileno())


def lock_of(path: Path) -> Path:
    """Return what the process that writes the shard at ``path`` has locked."""
    return path.with_name(f".{path.stem}.lock")


def read_identity(run_folder: Path) -> dict[str, Any] | None:
    """Return what all shards of a run were begun with; None where that is not known."""
    return read_sealed(run_folder / SHARDS / IDENTITY).header


def read_header(path: Path) -> dict[str, Any] | None:
    """Read the identity that a shard was begun with.

    Returns:
        The identity; None when the process was killed before it was written, or it is damaged.
    """
    return read_sealed_header(path)


def new_images(path: Path, position: int) -> tuple[int, int]:
    """Count the images that a shard got since ``position``, without reading them.

    Args:
        path: The shard.
        position: Offset in bytes that the last call returned; 0 in the beginning.

    Returns:
        The number of images, and the offset after them. A torn last line is counted once it is
        whole.
    """
    if not path.exists():
        return 0, position
    with path.open("rb") as file:
        file.seek(position)
        content = file.read()
    lines = content.count(b"\n")
    end = position + content.rfind(b"\n") + 1
    return lines - (1 if position == 0 and lines else 0), end


def finished_images(paths: Sequence[Path], *, notice: Notice = silent) -> set[int]:
    """Return the ids of the images that several shards have together.

    Args:
        paths: Shards of one run.
        notice: Called with a sentence for each damaged line; its image counts as missing.
    """
    return set(_by_image(paths, notice))


def read_lines(paths: Sequence[Path], *, notice: Notice = silent) -> list[Line]:
    """Read the images of several shards.

    Args:
        paths: Shards of one run.
        notice: Called with a sentence for each line that is damaged or of another run.

    Returns:
        One line for each image, in the order of the shards; of an image that several have, the
        first.
    """
    return [line for _, line in read_stored(paths, notice=notice)]


def read_stored(paths: Sequence[Path], *, notice: Notice = silent) -> list[tuple[bytes, Line]]:
    """Read the images of several shards with the text they have there.

    Args:
        paths: As in ``read_lines``.
        notice: As in ``read_lines``.

    Returns:
        The same lines, each after the bytes of it in the file; these are empty where they have no
        checksum, that is where another version wrote them.
    """
    return list(_by_image(paths, notice).values())


def stamps_of(lines: Iterable[Line], name: str = STAMP) -> dict[int, str]:
    """Return the state of the images' files when they were inferred.

    Args:
        lines: Lines of shards.
        name: ``STAMP``, or ``MAP_STAMP`` for the annotated maps.

    Returns:
        By image id; without images of older versions, whose lines do not have it.
    """
    return {line["image_id"]: line[name] for line in lines if isinstance(line.get(name), str)}


def shard_sums(run_folder: Path) -> dict[str, str]:
    """Return the sha256 of each shard by its path relative to the run folder."""
    return {
        path.relative_to(run_folder).as_posix(): file_digest(path)
        for path in shard_paths(run_folder)
    }


def _write(file: FileIO, raw: bytes) -> None:
    """Write all of ``raw``; the operating system may take it in parts."""
    content = memoryview(raw)
    while content:
        content = content[file.write(content) :]


def _by_image(paths: Sequence[Path], notice: Notice) -> dict[int, tuple[bytes, Line]]:
    """Return the first undamaged line of each image, and report what is ignored."""
    found: dict[int, tuple[bytes, Line]] = {}
    for path in paths:
        own = read_sealed(path.with_name(IDENTITY))
        shard = read_sealed(path)
        for fault in _faults_of(shard, own):
            notice(f"{path}: {fault}; it is ignored")
        if _is_foreign(shard, own):
            continue
        for raw, line in shard.images:
            known = b"" if shard.key is None else raw
            found.setdefault(line["image_id"], (known, line))
    return found


def _faults_of(shard: SealedFile, own: SealedFile) -> list[str]:
    """Return what is wrong with a shard of the run with the identity ``own``."""
    if _is_foreign(shard, own):
        return ["the file belongs to another run"]
    return shard.faults


def _is_foreign(shard: SealedFile, own: SealedFile) -> bool:
    """Return whether a shard was begun by another run than its folder's."""
    if own.header is None or (shard.header is None and shard.key is None):
        return False
    if shard.key is None:  # of an older version
        return bool(differences(shard.header or {}, own.header))
    return shard.key != own.key


def _mended(path: Path, identity: dict[str, Any], key: str, notice: Notice) -> list[Line]:
    """Remove damaged lines from a shard, so that it can be continued, and return those it has.

    Args:
        path: The shard; a foreign one is renamed.
        identity: Identity of the run.
        key: Key of the identity.
        notice: Called with a sentence for each damage.
    """
    shard, own = read_sealed(path), SealedFile(header=identity, key=key)
    if _is_foreign(shard, own):
        aside = path.with_name(f"{path.name}.foreign")
        path.replace(aside)
        notice(f"{path} belongs to another run: it is now {aside.name}, and its images are missing")
        shard = SealedFile()
    for fault in shard.faults:
        notice(f"{path}: {fault}; what it held is inferred again")
    images = {line["image_id"]: (raw, line) for raw, line in reversed(shard.images)}
    if shard.header is not None and shard.key is None:
        notice(f"{path} has no checksums (an older version wrote it): it is used as it is")
        images = {number: (seal(line, key), line) for number, (_, line) in images.items()}
    kept = list(reversed(images.values()))
    content = b"".join([seal(identity, key), *(raw for raw, _ in kept)])
    if not path.exists() or path.read_bytes() != content:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    return [line for _, line in kept]


def _require_identity(folder: Path, identity: dict[str, Any], notice: Notice) -> str:
    """Compare the identity of the run in ``folder`` with ``identity``; store it when it is new.

    Returns:
        The key of the identity.

    Raises:
        AnotherRunError: The run in the folder has another identity.
    """
    path = folder / IDENTITY
    with held(folder / ".identity.lock", notice=notice):
        found = read_sealed(path)
        if found.header is not None:
            _require_same(found.header, identity, _begun_with(found.header, path))
            return key_of(identity)
        headers = [(one, read_header(one)) for one in sorted(folder.glob("*.jsonl"))]
        for one, header in headers:
            if header is not None:
                _require_same(header, identity, one)
        key = key_of(identity)
        with replacing(path) as temporary:
            temporary.write_bytes(seal(identity, key))
    return key


def _begun_with(header: dict[str, Any], path: Path) -> Path:
    """Return a shard with this header, to name it in a message; ``path`` where there is none."""
    shards = sorted(path.parent.glob("*.jsonl"))
    return next((one for one in shards if read_header(one) == header), path)


def _require_same(found: dict[str, Any], expected: dict[str, Any], path: Path) -> None:
    """Compare two identities.

    Raises:
        AnotherRunError: They differ; the message says in what.
    """
    differing = differences(found, expected)
    if differing:
        raise AnotherRunError(
            f"{path} belongs to another run:\n  " + "\n  ".join(differing),
            hint="use the settings of that one, or choose another --output",
        )
