"""Names that stand for no file are refused; what a shell hands over is read."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Timer

import pytest
from PIL import Image

from harness.core.errors import UsageError
from harness.data.image_files import UnreadableImage, size_of
from harness.data.text_files import read_text
from harness.files.json import read
from harness.files.readable import not_a_file, require_end, resolved
from harness.files.toml import read_table
from harness.zoo.weights import read_checkpoint

READERS: dict[str, Callable[[Path], object]] = {
    "x.json": read,
    "x.toml": lambda path: read_table(path, what="matrix"),
    "x.txt": read_text,
    "x.pth": read_checkpoint,
    "x.safetensors": read_checkpoint,
    "x.safetensors.index.json": read_checkpoint,
}


def release(path: Path) -> None:
    """Let go a reader of a pipe that waits for a writer: the test fails, and does not hang."""
    with suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))


@pytest.fixture
def pipe(tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        os.mkfifo(tmp_path / name)
        timer = Timer(10, release, [tmp_path / name])
        timer.daemon = True
        timer.start()
        return tmp_path / name

    return make


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_without_a_writer_is_refused(name: str, pipe: Callable[[str], Path]) -> None:
    with pytest.raises(UsageError, match="it is a pipe, not a file"):
        READERS[name](pipe(name))


@pytest.mark.parametrize("name", READERS)
def test_a_device_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(UsageError, match="it is a device, not a file"):
        READERS[name](tmp_path / name)


def test_a_pipe_is_no_image(pipe: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match="it is a pipe"):
        size_of(pipe("x.jpg"))
    Image.new("RGB", (2, 3)).save(tmp_path / "y.png")
    assert size_of(tmp_path / "y.png").stored_px == (3, 2)


def test_what_a_shell_hands_over_is_read(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"[1, 2]")
    os.close(writing)
    try:
        assert read(Path(f"/dev/fd/{reading}")) == [1, 2]
    finally:
        os.close(reading)
    assert not_a_file(Path(os.devnull)) is None
    assert not_a_file(tmp_path) is None
    assert not_a_file(tmp_path / "nothing") is None


def test_sockets_and_circles_end_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(tmp_path / "socket"))
    for name in ("circle", "socket"):
        require_end(tmp_path / name)
        with pytest.raises(UsageError, match="cannot read"):
            read(tmp_path / name)
    assert resolved(tmp_path / "circle") == Path(os.path.realpath(tmp_path)) / "circle"
