"""Bytes in memory, such as the map of a file, read as a file is."""

from __future__ import annotations

import io
from typing import Any

#: Instructions of a pickle whose argument is bytes, of which the first calls them text, as Python 2
#: did; and from how many bytes on these are a view.
BINSTRING = b"T"
LONG_INSTRUCTIONS = (BINSTRING, b"B", b"\x8e")
LONG_BYTES = 1 << 16


class Bytes(io.RawIOBase):
    """A part of a file as a file: what is read is copied, the rest is not."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._position = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Bytes from the beginning."""
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to an offset; the new position.

        Args:
            offset: In bytes.
            whence: 0 from the beginning, 1 from here, 2 from the end.
        """
        self._position = max(0, offset + (0, self._position, len(self._data))[whence])
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """At most ``size`` bytes from here.

        Args:
            size: Negative or None for all that are left.
        """
        end = len(self._data) if size is None or size < 0 else self._position + size
        found = bytes(self._data[self._position : end])
        self._position += len(found)
        return found

    def readline(self, size: int | None = -1) -> bytes:
        """What is left of a line."""
        end = self._position
        while piece := bytes(self._data[end : end + 256]):
            length = piece.find(b"\n") + 1
            end += length or len(piece)
            if length:
                break
        return self.read(end - self._position)


class Text:
    """Bytes that Python 2 called text: what ``pickletools`` decodes stays what it is."""

    def __init__(self, data: memoryview) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def decode(self, _: str) -> memoryview:
        """The bytes themselves."""
        return self._data


class Stream(Bytes):
    """Pickles in a file, whose arrays' numbers are not copied.

    ``pickletools`` reads an instruction, which is one byte, then the length of its argument, then
    the argument.
    """

    def __init__(self, data: memoryview) -> None:
        super().__init__(data)
        self._instruction = b""

    def read(self, size: int | None = -1) -> Any:
        """At most ``size`` bytes from here; a view of those of an array."""
        if size is None or size < LONG_BYTES or self._instruction not in LONG_INSTRUCTIONS:
            found = super().read(size)
            self._instruction = found if size == 1 else self._instruction
            return found
        start = self.tell()
        view = self._data[start : self.seek(min(start + size, len(self._data)))]
        return Text(view) if self._instruction == BINSTRING else view
