"""What a training did otherwise than asked, kept in its folder for the record."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.run_files import NOTES
from harness.files.atomic import write_text
from harness.files.json import dumps, read
from harness.training.checkpoints import failing_disk


def read_notes(folder: Path) -> tuple[str, ...]:
    """Return the sentences of all starts of a training; none where the file is damaged."""
    try:
        found = read(folder / NOTES)
    except (OSError, HarnessError):
        return ()
    return tuple(one for one in found if isinstance(one, str)) if isinstance(found, list) else ()


class Notes:
    """Sentences that are shown once a start, and kept.

    Args:
        folder: The run folder.
        notice: Shows a sentence.
    """

    def __init__(self, folder: Path, notice: Callable[[str], None]) -> None:
        self._folder = folder
        self._notice = notice
        self._reported: set[str] = set()

    def report(self, sentences: Iterable[str]) -> None:
        """Show and keep those that are new.

        Raises:
            RunFailedError: The disk is full, or fails otherwise.
        """
        new = [one for one in sentences if one not in self._reported]
        if not new:
            return
        self._reported.update(new)
        for sentence in new:
            self._notice(f"note: {sentence}")
        kept = dict.fromkeys((*read_notes(self._folder), *new))
        with failing_disk(self._folder / NOTES):
            write_text(self._folder / NOTES, dumps(list(kept), indent=2) + "\n")
