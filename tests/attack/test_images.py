"""Files called like images that are programs or documents: no command starts anything for them."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from harness.cli.main import run
from harness.core.errors import IntegrityError
from harness.data.panoptic import read_ids
from tests.attack.trials import Trials

#: Programs that Pillow's decoders start where they are given the chance.
PROGRAMS = ("gs", "gswin32c", "gswin64c", "djpeg", "xv", "convert", "display")


def disguised() -> dict[str, bytes]:
    """Documents by kind; Pillow knows a decoder, or a stub, for most of them."""
    eps, pdf = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (60, 80)).save(eps, "EPS")
    Image.new("RGB", (60, 80)).save(pdf, "PDF")
    dos = (
        b"\xc5\xd0\xd3\xc6" + (32).to_bytes(4, "little") + len(eps.getvalue()).to_bytes(4, "little")
    )
    return {
        "eps": eps.getvalue(),
        "eps of DOS": dos + bytes(20) + eps.getvalue(),
        "ps": b"%!PS-Adobe-3.0\n(x) (w) file\n",
        "pdf": pdf.getvalue(),
        "wmf": b"\xd7\xcd\xc6\x9a" + bytes(18) + b"\x01\x00\t\x00" + bytes(40),
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        "fits": b"SIMPLE  =                    T" + bytes(2850),
        "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(100),
        "grib": b"GRIB" + bytes(3) + b"\x01" + bytes(100),
        "mpeg": b"\x00\x00\x01\xb3" + bytes(100),
        "psd": b"8BPS\x00\x01" + bytes(60),
        "xpm": b"/* XPM */\nstatic char *x[] = {",
        "html": b"<!doctype html><script>alert(1)</script>",
    }


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is there as soon as one of PROGRAMS is started."""
    marker, folder = tmp_path / "started", tmp_path / "bin"
    folder.mkdir()
    for name in PROGRAMS:
        (folder / name).write_text(f"#!/bin/sh\ntouch '{marker}'\n", "utf-8")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return marker


def test_no_command_starts_a_program(
    trials: Trials,
    small_coco: Path,
    started: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(small_coco)
    annotations, images = "annotations.json", small_coco / "images"
    given = ["--annotations", annotations, "--images", str(images)]
    first = sorted(images.iterdir())[0]
    training = [
        f"--{part}-{what}" for part in ("train", "val") for what in ("annotations", "images")
    ]
    words = [
        word for pair in zip(training, [annotations, str(images)] * 2, strict=True) for word in pair
    ]
    commands = (
        ["predict", str(first), "--threads", "1", "--output", "found"],
        ["show", *given, "--output", "shown"],
        ["eval", "--engine", "fake", *given, "--output", "run"],
        ["data", "check", annotations, "--images", str(images)],
        ["train", *words, "--init", "none", "--device", "cpu", "--threads", "1", "--dry-run"],
    )
    for kind, content in disguised().items():
        first.write_bytes(content)
        for command in commands:
            with trials.one((kind, command[0])):
                code = run(command)
                said = capsys.readouterr().err
                assert code in (2, 4, 5), f"exit code {code}: {said[-500:]}"
                assert "Traceback" not in said
                assert not started.exists(), "a program was started"
        with trials.one((kind, "panoptic")):
            with pytest.raises(IntegrityError):
                read_ids(first, (80, 60))
            assert not started.exists(), "a program was started"
